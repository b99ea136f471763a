// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CXXHash
import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("Checksums")
struct ChecksumTests {
  private static let lengths =
    Array(0...1100) + [4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 300_001]

  @Test("a checksum is what libxxhash's plain functions say, at every length, whole and in pieces")
  func plain() {
    var random = SeededGenerator(seed: 11)
    let bytes = (0..<300_001).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    for length in Self.lengths {
      let seed = random.next()
      let expected = bytes.withUnsafeBytes { XXH3_64bits_withSeed($0.baseAddress, length, seed) }
      let payload = bytes.span.bytes.extracting(first: length)
      #expect(Checksum.xxh3(payload, seed: seed) == expected, "\(length) bytes")

      guard var pieces = StreamingChecksum(.version2(seed: seed)) else {
        Issue.record("no memory")
        return
      }
      var offset = 0
      while offset < length {
        let end = min(length, offset + Int(random.next() % UInt64(length)) + 1)
        pieces.update(payload.extracting(offset..<end))
        offset = end
      }
      #expect(pieces.frameChecksum == max(UInt32(truncatingIfNeeded: expected), 1))
    }
  }
}
