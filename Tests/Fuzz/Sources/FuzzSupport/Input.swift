// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The fuzzer's input, taken from its front. After its end, every byte is 0.
public struct Input {
  private var left: ArraySlice<UInt8>

  public init(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
    left = Array(UnsafeBufferPointer(start: bytes, count: count))[...]
  }

  public var isEmpty: Bool { left.isEmpty }

  public mutating func u8() -> UInt8 { left.popFirst() ?? 0 }
  public mutating func i8() -> UInt64 { UInt64(bitPattern: Int64(Int8(bitPattern: u8()))) }
  public mutating func u16() -> UInt16 { UInt16(u8()) | UInt16(u8()) << 8 }
  public mutating func u32() -> UInt32 { UInt32(u16()) | UInt32(u16()) << 16 }
  public mutating func u64() -> UInt64 { UInt64(u32()) | UInt64(u32()) << 32 }

  /// The next `count` bytes, or fewer if the input ends before.
  public mutating func take(_ count: Int) -> [UInt8] {
    let taken = left.prefix(count)
    left = left.dropFirst(count)
    return Array(taken)
  }

  public mutating func takeRest() -> [UInt8] { take(left.count) }

  /// Numbers at which arithmetic may go wrong.
  public static let extremes: [UInt64] = [
    0, 1, 8, 48, 80, 128, 176, 4096, 65_535, 65_536, (1 << 40) - 129, (1 << 40) - 1, 1 << 40,
    (1 << 40) + 128, 2 << 40, .max - (1 << 40), .max - 4096, .max - 128, .max - 80, .max - 1, .max,
  ]

  /// A number: the right one, one near it, an extreme, or any number.
  public mutating func number(near right: UInt64) -> UInt64 {
    switch u8() % 5 {
    case 0, 1: right
    case 2: right &+ i8()
    case 3: Self.extremes[Int(u8()) % Self.extremes.count]
    default: u64()
    }
  }
}
