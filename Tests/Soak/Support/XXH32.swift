// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The hash of queuefka's frames, with seed 0, from its specification.
enum XXH32 {
  private static let primes: [UInt32] = [
    0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1,
  ]

  private static func rotated(_ value: UInt32, _ count: UInt32) -> UInt32 {
    value << count | value >> (32 - count)
  }

  private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
  }

  static func hash(_ bytes: [UInt8]) -> UInt32 {
    var offset = 0
    var hash = primes[4]
    if bytes.count >= 16 {
      var lanes = [primes[0] &+ primes[1], primes[1], 0, 0 &- primes[0]]
      while bytes.count - offset >= 16 {
        for lane in 0..<4 {
          let sum = lanes[lane] &+ word(bytes, offset) &* primes[1]
          lanes[lane] = rotated(sum, 13) &* primes[0]
          offset += 4
        }
      }
      hash =
        rotated(lanes[0], 1) &+ rotated(lanes[1], 7) &+ rotated(lanes[2], 12)
        &+ rotated(lanes[3], 18)
    }
    hash &+= UInt32(truncatingIfNeeded: bytes.count)
    while bytes.count - offset >= 4 {
      hash = rotated(hash &+ word(bytes, offset) &* primes[2], 17) &* primes[3]
      offset += 4
    }
    while offset < bytes.count {
      hash = rotated(hash &+ UInt32(bytes[offset]) &* primes[4], 11) &* primes[0]
      offset += 1
    }
    hash = (hash ^ hash >> 15) &* primes[1]
    hash = (hash ^ hash >> 13) &* primes[2]
    return hash ^ hash >> 16
  }
}
