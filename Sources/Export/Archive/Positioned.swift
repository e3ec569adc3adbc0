// Reading and writing at a place of an open file until all of it is done, however the system hands it out.

internal import Foundation

enum Positioned {
    /// Fills `space` from `offset` on; returns how many bytes there were, fewer at the end or where errno says why.
    static func read(
        _ descriptor: Int32, into space: UnsafeMutableRawBufferPointer, at offset: Int64
    ) -> Int {
        var done = 0
        while done < space.count {
            let got = pread(
                descriptor, space.baseAddress! + done, space.count - done,
                off_t(offset) + off_t(done))
            if got < 0, errno == EINTR { continue }
            if got <= 0 { break }
            done += got
        }
        return done
    }

    /// Writes all of `bytes` from `offset` on; false where errno says why not.
    static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int64)
        -> Bool
    {
        var done = 0
        while done < bytes.count {
            let got = pwrite(
                descriptor, bytes.baseAddress! + done, bytes.count - done,
                off_t(offset) + off_t(done))
            if got < 0, errno == EINTR { continue }
            if got <= 0 { return false }
            done += got
        }
        return true
    }
}
