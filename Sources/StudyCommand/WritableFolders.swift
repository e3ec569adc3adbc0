// `--writable FOLDER` of `study run` and `study replay`.

internal import ArgumentParser
internal import Foundation

enum WritableFolders {
    /// - Throws: `ValidationError` where a folder is not there: a misspelt one would open nothing.
    static func check(_ folders: [String]) throws {
        for folder in folders {
            var info = stat()
            guard stat(folder, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
                throw ValidationError(
                    "--writable \(folder): there is no such folder. Make it first, or mend the name."
                )
            }
        }
    }
}
