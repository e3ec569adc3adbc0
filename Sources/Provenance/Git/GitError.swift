// What libgit2 said, copied before its next call overwrites it.

internal import CGit2

/// A failed call of libgit2. The corresponding C function is `git_error_last`.
struct GitError: Error, CustomStringConvertible {
    let call: String
    let code: Int32
    let message: String

    var description: String { "\(call): \(message) (\(code))" }
}

/// Throws ``GitError`` where `code` is negative.
@discardableResult
func git(_ call: String, _ code: Int32) throws(GitError) -> Int32 {
    guard code < 0 else { return code }
    let message = git_error_last().flatMap { $0.pointee.message }.map { String(cString: $0) }
    throw GitError(call: call, code: code, message: message ?? "no reason given")
}
