// What an account that may only read can do with another's ledger and bundles: everything but write into them.

import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `An account that may only read` {
    /// Starts `study` as somebody who may write into neither the ledger nor the bundle's folder: where root runs the
    /// tests, as another user; where somebody else does, with their permissions taken away meanwhile.
    private struct Reader {
        let author: String
        let desk: String
        let isRoot = geteuid() == 0
        static let nobody = "65534"

        init(author: String, desk: String) throws {
            (self.author, self.desk) = (author, desk)
            // Whatever mask the tests run under.
            let mode = isRoot ? "a+rX,go-w" : "a-w,a+rX"
            try #require(shell("chmod -R \(mode) .", in: author).status == 0)
            if isRoot {
                try #require(
                    shell("chown -R \(Self.nobody):\(Self.nobody) .", in: desk).status == 0)
            }
        }

        /// The author's own again, so that their folder can be removed.
        func end() { _ = try? shell("chmod -R u+w '\(author)'", in: desk) }

        /// Nil where nobody else can be had, which is said.
        func study(_ arguments: [String]) throws -> StudyProcess? {
            let environment = ["HOME": desk, "TMPDIR": desk]
            guard isRoot else {
                return try StudyProcess(arguments, in: desk, environment: environment)
            }
            let found = try StudyProcess(
                [
                    "--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups", "--",
                    StudyProcess.products + "/study",
                ] + arguments, in: desk, environment: environment,
                executable: "/usr/bin/setpriv")
            // setpriv's own words: the products lie where only root can go.
            if found.status == 127 || found.status == 126 {
                print("not run: An account that may only read: \(found.errors)")
                return nil
            }
            return found
        }
    }

    @Test(.enabled(if: geteuid() != 0 || access("/usr/bin/setpriv", X_OK) == 0))
    func `verifies, inspects, exports to the same bytes, reports and imports, and changes nothing`()
        throws
    {
        let study = try ExportedStudy()
        try study.run()
        let author = study.author.path
        let own = try StudyProcess(
            ["export", "@latest", "-o", "x.tar.zst", "--json"], in: author)
        try #require(own.status == 0, "\(own.errors)")
        let hash = try #require(own.json["tar_sha256"] as? String)
        let before = try shell("find . -printf '%p %s %T@ %u\\n' | sort", in: author).output
        let reader = try Reader(author: author, desk: study.reviewer.path)
        defer { reader.end() }
        func asReader(_ arguments: String...) throws -> StudyProcess? {
            let found = try reader.study(arguments)
            if let found { #expect(found.status == 0, "\(arguments): \(found.errors)") }
            return found
        }
        guard let verify = try asReader("verify", author + "/x.tar.zst", "--json") else { return }
        #expect(verify.json["tar_sha256"] as? String == hash)
        let inspect = try asReader("inspect", author + "/x.tar.zst")
        #expect(inspect?.output.contains("count") == true)
        let list = try asReader("list", "--ledger", author)
        #expect(list?.output.contains("studies/count.md") == true)
        let show = try asReader("show", "@latest", "--verify", "--ledger", author)
        #expect(show?.output.contains("the seal holds") == true)
        #expect(show?.output.contains("sha256 of the tar within: \(hash)") == true)
        for name in ["y.tar.zst", "y.zip"] {
            let export = try asReader("export", "@latest", "--ledger", author, "-o", name, "--json")
            #expect(export?.json["tar_sha256"] as? String == hash)
            #expect(
                export?.errors.contains(
                    "note: this ledger may only be read: the export and its hash are not on record in it\n"
                ) == true)
        }
        let report = try asReader("report", "@latest", "--ledger", author, "-o", "y.html")
        #expect(report != nil)
        let page = try String(contentsOfFile: reader.desk + "/y.html", encoding: .utf8)
        #expect(page.contains("Reads and counts"))
        let take = try asReader("import", author + "/x.tar.zst", "--ledger", reader.desk)
        #expect(take?.output.contains("1 imported") == true)
        reader.end()
        let after = try shell("find . -printf '%p %s %T@ %u\\n' | sort", in: author).output
        #expect(after == before)
    }

    @Test(.enabled(if: geteuid() != 0 || access("/usr/bin/setpriv", X_OK) == 0))
    func `is told where a bundle may not be read, and where an export may not be written`() throws {
        let study = try ExportedStudy()
        try study.run()
        let author = study.author.path
        let own = try StudyProcess(["export", "@latest", "-o", "x.tar"], in: author)
        try #require(own.status == 0, "\(own.errors)")
        let reader = try Reader(author: author, desk: study.reviewer.path)
        defer { reader.end() }
        chmod(author + "/x.tar", 0)
        guard let verify = try reader.study(["verify", author + "/x.tar"]) else { return }
        #expect(verify.status == 2)
        #expect(
            verify.errors.hasPrefix("The archive cannot be opened: Permission denied.\n"),
            "\(verify.errors)")
        let export = try #require(
            try reader.study(["export", "@latest", "--ledger", author, "-o", author + "/y.tar"]))
        #expect(export.status != 0)
        #expect(
            export.errors.contains("The archive cannot be written: Permission denied."),
            "\(export.errors)")
        #expect(!FileManager.default.fileExists(atPath: author + "/y.tar"))
        #expect(!FileManager.default.fileExists(atPath: author + "/y.tar.partial"))
    }
}
