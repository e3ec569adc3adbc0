// Sizes, times and numbers in the words of pages, summaries and commands.

internal import Foundation

/// Numbers as people read them.
package enum Words {
    package static func bytes(_ count: Int64) -> String {
        let units = ["bytes", "KB", "MB", "GB", "TB"]
        var value = Double(count)
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return unit == 0 ? "\(count) bytes" : "\(fixed(value, value < 10 ? 1 : 0)) \(units[unit])"
    }

    package static func seconds(_ value: Double) -> String {
        if value < 0.001 { return "\(fixed(value * 1e6, 0)) µs" }
        if value < 1 { return "\(fixed(value * 1000, 0)) ms" }
        if value < 120 { return "\(fixed(value, 1)) s" }
        if value < 7200 { return "\(fixed(value / 60, 0)) min" }
        return "\(fixed(value / 3600, 1)) h"
    }

    package static func fixed(_ value: Double, _ digits: Int) -> String {
        String(format: "%.\(digits)f", value)
    }

    /// Four significant digits, as tables show them.
    package static func number(_ value: Double) -> String {
        if value.isNaN { return "not a number" }
        if value.isInfinite { return value < 0 ? "−∞" : "∞" }
        if let whole = Int64(exactly: value), abs(whole) < 1_000_000 { return "\(whole)" }
        return String(format: "%.4g", value).replacingOccurrences(of: "e-0", with: "e-")
    }
}
