import Testing

@Suite struct `StudyCommand` {
    @Test func `loads`() {
        #expect(Bool(true))
    }
}
