// Which earlier modules a cell's words ask for.

import Notebook
import Testing

@Suite struct `Source scan` {
    @Test(arguments: [
        ("let a = 1, b: Int = f(c)", ["a", "b"]),
        ("let (a, b) = pair\nvar c: [Int] = []", ["a", "b", "c"]),
        ("func f(_ x: Int) { let local = x }", ["f"]), ("for i in 0..<3 { let local = i }", []),
        (
            "struct A {\n  var field = 1\n  func method() { var local = 2 }\n}",
            ["A", "field", "method"]
        ),
        ("enum E { case one(Int), two }", ["E", "one", "two"]),
        ("class C { class func make() {} }", ["C", "make"]),
        ("let text = \"let no = { \\(items.map { \"}\" }) {\"\nlet after = 1", ["text", "after"]),
        ("/* let no = 1 { */ // let no2 {\nlet yes = 1", ["yes"]),
        (
            "let long = \"\"\"\n  let no = {\n  \"\"\"\nlet raw = #\"{ \" {\"#\nlet last = 1",
            ["long", "raw", "last"]
        ),
        ("guard let found = find() else { fatalError() }", ["found"]), ("typealias T = Int", ["T"]),
    ]) func `names that other cells can use are found, local ones are not`(
        source: String, names: [String]
    ) {
        let scan = SourceScan(source)
        #expect(scan.declared == Set(names))
        #expect(!scan.isUsedUnnamed)
    }

    @Test(arguments: [
        "extension Int { var twice: Int { 2 * self } }", "infix operator +++",
        "func + (a: P, b: P) -> P { a }",
        "}",
    ]) func `what is used without being named is for every later cell`(source: String) {
        #expect(SourceScan(source).isUsedUnnamed)
    }

    @Test func `a cell imports those that declare what it mentions`() {
        let scans = [
            "let run = 1", "let a = run", "extension Int {}", "print(\"\\(a)\")", "struct S {}",
            "let b = S(), c = a",
        ].map { SourceScan($0) }
        #expect(SourceScan.imports(scans) == [[], [0], [], [1, 2], [2], [1, 2, 4]])
    }
}
