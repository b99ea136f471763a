// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("The format, both ways")
struct FormatTests {
  let header = SlabHeader(
    largestPayload: 16 << 20, base: 0x0102_0304_0506_0708, ordinal: 11, stamp: 12, synced: 13,
    kept: 14, topicID: 0x1122_3344_5566_7788)
  let mark = Mark(stamp: 1, ordinal: 2, synced: 3, kept: 4, topicID: 0x1122_3344_5566_7788)

  func bytes(_ header: SlabHeader) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: SlabHeader.byteCount)
    var array = bytes.mutableSpan
    var span = array.mutableBytes
    header.encode(into: &span)
    return bytes
  }

  func bytes(_ mark: Mark, at address: UInt64) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: Mark.byteCount)
    var array = bytes.mutableSpan
    var span = array.mutableBytes
    mark.encode(into: &span, address: address)
    return bytes
  }

  @Test("a header is written as the page says, field by field")
  func headerBytes() {
    let bytes = bytes(header)
    #expect(bytes[0..<8] == [0x89, 0x44, 0x51, 0x53, 0x4C, 0x41, 0x42, 0x0A])
    #expect(bytes[8..<12] == [2, 0, 0, 0])
    #expect(bytes[12..<16] == [0, 0, 0, 1])
    #expect(bytes[16..<24] == [8, 7, 6, 5, 4, 3, 2, 1])
    #expect(bytes[24..<32] == [11, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[32..<40] == [12, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[40..<48] == [13, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[48..<56] == [14, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[56..<64] == [0, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[64..<72] == [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11])
    let hash = Checksum.xxh3(bytes.span.bytes.extracting(first: 72), seed: 0)
    #expect(Array(bytes[72...]) == (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * $0)) })
  }

  @Test("a header reads back, and is unsound in a file of another name or with any bit flipped")
  func headerReading() {
    var bytes = bytes(header)
    #expect(SlabHeader.read(bytes.span.bytes, base: header.base) == .sound(header))
    #expect(SlabHeader.read(bytes.span.bytes, base: header.base + 1) == .unsound)
    for bit in 0..<8 * bytes.count {
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(SlabHeader.read(bytes.span.bytes, base: header.base) == .unsound, "bit \(bit)")
      bytes[bit / 8] ^= 1 << (bit % 8)
    }
    for count in 0..<80 {
      #expect(
        SlabHeader.read(bytes.span.bytes.extracting(first: count), base: header.base) == .unsound)
    }
  }

  @Test("a sound header of a higher version or with unknown flags is refused, not guessed at")
  func newerHeader() {
    for (offset, value) in [(8, UInt8(3)), (10, 1)] {
      var bytes = bytes(header)
      bytes[offset] = value
      reseal(&bytes)
      let reading = SlabHeader.read(bytes.span.bytes, base: header.base)
      #expect(
        reading == .unsupported(version: offset == 8 ? 3 : 2, flags: offset == 10 ? 1 : 0))
    }
  }

  @Test("a topic id of 0 is none")
  func zeroTopic() {
    var header = header
    header.topicID = 0
    #expect(SlabHeader.read(bytes(header).span.bytes, base: header.base) == .unsound)
  }

  @Test("a mark reads back at its own address only, for its own topic only")
  func markReading() {
    let bytes = bytes(mark, at: 4096)
    #expect(bytes[0..<4] == [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(Mark.read(bytes.span.bytes, address: 4096, topicID: nil) == mark)
    #expect(Mark.read(bytes.span.bytes, address: 4096, topicID: mark.topicID) == mark)
    #expect(Mark.read(bytes.span.bytes, address: 4097, topicID: nil) == nil)
    #expect(Mark.read(bytes.span.bytes, address: 4096, topicID: 5) == nil)
    #expect(Mark.read(bytes.span.bytes.extracting(first: 47), address: 4096, topicID: nil) == nil)
    var flipped = bytes
    for bit in 0..<8 * bytes.count {
      flipped[bit / 8] ^= 1 << (bit % 8)
      #expect(Mark.read(flipped.span.bytes, address: 4096, topicID: nil) == nil, "bit \(bit)")
      flipped[bit / 8] ^= 1 << (bit % 8)
    }
  }

  @Test("only a mark that states its own end closes a topic")
  func closing() {
    var mark = mark
    mark.synced = 4096 + 48
    #expect(mark.closes(at: 4096))
    #expect(!mark.closes(at: 4095))
    mark.synced = 4096
    #expect(!mark.closes(at: 4096))
    #expect(!mark.closes(at: .max))
  }

  @Test("zeros are never a frame")
  func zeros() {
    let zeros = [UInt8](repeating: 0, count: 80)
    #expect(Checksum.frame(zeros.span.bytes.extracting(first: 0), seed: 0) != 0)
    #expect(SlabHeader.read(zeros.span.bytes, base: 0) == .unsound)
    #expect(Mark.read(zeros.span.bytes, address: 0, topicID: nil) == nil)
  }

  @Test("a checksum in pieces is the checksum in one")
  func streaming() {
    let payload = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    guard var pieces = StreamingChecksum(.version2(seed: 77)),
      var old = StreamingChecksum(.version1)
    else {
      Issue.record("no memory")
      return
    }
    for start in stride(from: 0, to: payload.count, by: 777) {
      let piece = Array(payload[start..<min(start + 777, payload.count)])
      pieces.update(piece.span.bytes)
      old.update(piece.span.bytes)
    }
    let whole = pieces.frameChecksum
    #expect(whole == Checksum.frame(payload.span.bytes, seed: 77))
    let oldWhole = old.frameChecksum
    #expect(oldWhole == Checksum.xxh32(payload.span.bytes))
  }

  @Test("XXH32 of the original's own sentence is the original's own value")
  func version1Checksum() {
    #expect(Checksum.xxh32(Array("This is only a test.".utf8).span.bytes) == 0x8e21_7fe1)
  }

  @Test(
    "a slab is named by twenty digits",
    arguments: [
      ("00000000000000000000.slab", 0), ("00000000000000065540.slab", 65540),
      ("18446744073709551615.slab", UInt64.max),
    ] as [(String, UInt64)])
  func names(_ name: String, _ base: UInt64) {
    #expect(SlabName.parse(name) == base)
    #expect(SlabName.string(base) == name)
  }

  @Test(
    "anything else is no slab's name",
    arguments: [
      "", ".slab", "0.slab", "18446744073709551616.slab", "99999999999999999999.slab",
      "0000000000000000000x.slab", "00000000000000000000.slab~", "00000000000000000000.SLAB",
      "+0000000000000000001.slab", "000000000000000000000.slab", "0000000000000000000٣.slab",
    ])
  func otherNames(_ name: String) {
    #expect(SlabName.parse(name) == nil)
  }

  @Test("a decimal number is an address, and nothing else is")
  func addresses() {
    #expect(Address("1099511627776") == Address(rawValue: 1 << 40))
    #expect(Address(rawValue: 7).description == "7")
    for text in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616"] {
      #expect(Address(text) == nil, "\(text)")
    }
  }

  /// Puts the right hash on a header that was changed.
  private func reseal(_ bytes: inout [UInt8]) {
    let hash = Checksum.xxh3(bytes.span.bytes.extracting(first: 72), seed: 0)
    for index in 0..<8 { bytes[72 + index] = UInt8(truncatingIfNeeded: hash >> (8 * index)) }
  }
}
