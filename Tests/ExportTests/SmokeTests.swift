import Testing

@Suite struct `Export` {
    @Test func `loads`() {
        #expect(Bool(true))
    }
}
