import Testing

@Suite struct `Notebook` {
    @Test func `loads`() {
        #expect(Bool(true))
    }
}
