// What several test targets share.
internal import Foundation
