// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Payloads on a terminal. A control character could move the cursor, or make the terminal send
/// keys.
extension Output {
  /// Puts a payload in which each control character, and each byte that is not UTF-8, is escaped
  /// as `\xHH`. Tabs and line ends stay.
  mutating func putVisible(_ payload: Span<UInt8>) {
    payload.withUnsafeBytes { bytes in
      var input = bytes.makeIterator()
      var parser = Unicode.UTF8.ForwardParser()
      var start = 0
      while true {
        switch parser.parseScalar(from: &input) {
        case .emptyInput: return
        case .valid(let encoded):
          let end = start + encoded.count
          let scalar = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
          if Self.isControl(Unicode.UTF8.decode(encoded)) {
            putEscaped(scalar)
          } else {
            put(scalar)
          }
          start = end
        case .error(let length):
          putEscaped(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
          start += length
        }
      }
    }
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09, 0x0A: false
    case 0..<0x20, 0x7F...0x9F: true
    default: false
    }
  }

  private mutating func putEscaped(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes {
      put("\\x")
      withUnsafeBytes(of: byte) { putHex($0) }
    }
  }
}
