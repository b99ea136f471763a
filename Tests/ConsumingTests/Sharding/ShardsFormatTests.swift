// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The file that says how many shards there are")
struct ShardsFormatTests {
  /// The file of 1,000 shards by the hash of their keys. The hash of its first 16 bytes is from
  /// xxhash's own program.
  static let golden: [UInt8] = [
    0x44, 0x51, 0x53, 0x48, 0x41, 0x52, 0x44, 0x53, 1, 0, 1, 0, 0xE8, 0x03, 0, 0,
    0x5B, 0x7B, 0x41, 0x6D, 0x13, 0x84, 0xC4, 0x02,
  ]

  private func read(_ bytes: [UInt8]) -> ShardsFile.ShardsVerdict {
    ShardsFile.read(bytes.span.bytes)
  }

  /// A file with these fields and the right hash.
  private func forged(version: UInt8 = 1, dealer: UInt8 = 1, count: UInt32 = 16) -> [UInt8] {
    var bytes: [UInt8] = Array("DQSHARDS".utf8) + [version, 0, dealer, 0]
    for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: count >> UInt32(shift))) }
    let hash = xxh3(bytes)
    for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: hash >> UInt64(8 * shift))) }
    return bytes
  }

  @Test("it is what the format says, byte by byte, and is read back")
  func golden() {
    #expect(ShardsFile(dealer: .hash, count: 1_000).bytes == Self.golden)
    #expect(read(Self.golden) == .sound(ShardsFile(dealer: .hash, count: 1_000)))
    for dealer in [ShardsFile.Dealer.program, .hash, .list] {
      for count in [1, 16, 10_000] {
        let file = ShardsFile(dealer: dealer, count: count)
        #expect(file.bytes.count == 24)
        #expect(read(file.bytes) == .sound(file))
        #expect(forged(dealer: UInt8(dealer.rawValue), count: UInt32(count)) == file.bytes)
      }
    }
  }

  @Test("each flipped bit is found")
  func flippedBits() {
    for bit in 0..<Self.golden.count * 8 {
      var bytes = Self.golden
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(read(bytes) == (bit < 64 ? .foreign : .damaged))
    }
  }

  @Test("a beginning, or zeros, are an unfinished file, and nothing else is")
  func lengths() {
    for count in 0..<24 { #expect(read(Array(Self.golden.prefix(count))) == .unfinished) }
    for count in 0...24 { #expect(read([UInt8](repeating: 0, count: count)) == .unfinished) }
    #expect(read([UInt8](repeating: 0, count: 25)) == .foreign)
    #expect(read(Self.golden + [0]) == .damaged)
    #expect(read(Array("16\n".utf8)) == .foreign)
    #expect(read(Array("DQSHARD".utf8)) == .unfinished)
    #expect(read(Array("DQSHARDX".utf8)) == .foreign)
  }

  @Test("what a newer version says is not guessed, and no number of shards is out of its bounds")
  func versions() {
    #expect(read(forged(version: 2)) == .unsupported)
    #expect(read(forged(version: 2) + [1, 2, 3]) == .unsupported)
    #expect(read(forged(dealer: 3)) == .unsupported)
    for count in [0, 10_001, UInt32.max] { #expect(read(forged(count: count)) == .damaged) }
  }

  @Test("a shard's directory is its number, in four digits")
  func names() {
    for shard in [0, 7, 42, 999, 9_999] {
      #expect(ShardName.parse(ShardName.string(shard)) == shard)
    }
    #expect(ShardName.string(7) == "0007" && ShardName.string(9_999) == "9999")
    for name in ["7", "00007", "000a", "-001", "+001", "０００１", "", "lock"] {
      #expect(ShardName.parse(name) == nil)
    }
  }
}
