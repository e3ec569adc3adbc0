// What the tests of several files read from a verdict.

import Foundation
import TestSupport

/// The first difference that `study replay --json` or `study diff --json` names.
func firstDifference(_ process: StudyProcess) -> (
    kind: String, cell: String, step: Int?, text: String
) {
    // `diff` names its two runs "first" and "second".
    let first =
        process.json["first"] as? [String: Any]
        ?? process.json["first_difference"] as? [String: Any] ?? [:]
    return (
        first["kind"] as? String ?? "none", first["id"] as? String ?? "none",
        first["step"] as? Int, first["text"] as? String ?? "\(process.errors)"
    )
}
