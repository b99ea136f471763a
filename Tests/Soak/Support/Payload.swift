// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Payloads that contain their number. The number decides the length and every other byte. So a
/// wrong, cut, merged or altered record is found without storing any.
enum Payload {
  static let endMark: [UInt8] = Array("end".utf8)

  /// - Parameter count: the number of bytes, from 8 on. Nil: 24 to 279 bytes, as the number
  ///   decides.
  static func make(_ number: UInt64, count: Int? = nil) -> [UInt8] {
    let count = count ?? usualCount(number)
    return [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
      for index in 0..<count { bytes[index] = byte(number, index) }
      initialized = count
    }
  }

  /// The last record of a run.
  static func makeEnd(_ number: UInt64) -> [UInt8] { make(number, count: 8) + endMark }

  static func isEnd(_ payload: [UInt8]) -> Bool {
    payload.count == 11 && payload[8...] == endMark[...]
  }

  /// The number that a payload contains.
  ///
  /// - Throws: `Broken` if the rest does not follow from it.
  static func number(of payload: [UInt8], count: Int? = nil) throws(Broken) -> UInt64 {
    var number: UInt64 = 0
    for index in 0..<min(8, payload.count) { number |= UInt64(payload[index]) << (8 * index) }
    if isEnd(payload) { return number }
    guard payload.count == count ?? usualCount(number),
      payload.indices.allSatisfy({ payload[$0] == byte(number, $0) })
    else {
      throw Broken("a record that nobody appended: \(payload.count) bytes, as if number \(number)")
    }
    return number
  }

  private static func usualCount(_ number: UInt64) -> Int { 24 + Int(Random.mixed(number) % 256) }

  @inline(__always)
  private static func byte(_ number: UInt64, _ index: Int) -> UInt8 {
    let word = index < 8 ? number : number &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(index >> 3)
    return UInt8(truncatingIfNeeded: word >> UInt64(8 * (index & 7)))
  }
}
