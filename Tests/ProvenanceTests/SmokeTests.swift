import Testing

@Suite struct `Provenance` {
    @Test func `loads`() {
        #expect(Bool(true))
    }
}
