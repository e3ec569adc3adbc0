import Testing

@Suite struct `Engine` {
    @Test func `loads`() {
        #expect(Bool(true))
    }
}
