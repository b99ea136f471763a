// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

@testable public import DiskQueue

/// A topic in memory, made from the bytes of slabs.
public struct FuzzTopic: Sendable {
  public let storage: any TopicStorage
  public var topic: Topic { Topic(storage: storage) }

  /// If several slabs have one name, the first one counts.
  public init(_ slabs: [SlabImage]) {
    let storage = MemoryStorage(capacity: 1 << 24)
    for slab in slabs {
      guard let file = try? storage.create(SlabName.string(slab.base)) else { continue }
      Self.write(slab.bytes, to: file)
    }
    self.storage = storage
  }

  /// Writes the bytes of a cursor's file.
  public func putCursor(_ name: String, _ bytes: [UInt8]) {
    guard let directory = try? storage.consumers(creating: true),
      let file = try? directory.create(CursorName.string(name))
    else { fatalError("a cursor's file could not be made") }
    Self.write(bytes, to: file)
  }

  private static func write(_ bytes: [UInt8], to file: any StorageFile) {
    guard !bytes.isEmpty else { return }
    let written = try? file.write(bytes.span.bytes, at: 0)
    require(written == bytes.count, "memory is full")
  }

  private static func read(_ file: any StorageFile) -> [UInt8] {
    guard let size = try? file.size() else { fatalError("memory has no size") }
    return [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
      count = (try? file.read(into: UnsafeMutableRawBufferPointer(buffer), at: 0)) ?? 0
    }
  }

  /// All slabs, by their bases.
  public var slabs: [UInt64: [UInt8]] {
    guard let bases = try? TopicIndex.slabs(in: storage) else { fatalError("memory has no list") }
    var slabs: [UInt64: [UInt8]] = [:]
    for base in bases {
      guard let file = try? storage.open(SlabName.string(base), writable: false) else { continue }
      slabs[base] = Self.read(file)
    }
    return slabs
  }

  /// The bytes of a cursor's file. Nil if there is none.
  public func cursor(_ name: String) -> [UInt8]? {
    guard let directory = try? storage.consumers(creating: false),
      let file = try? directory.open(CursorName.string(name), writable: false)
    else { return nil }
    return Self.read(file)
  }
}

extension Environment {
  /// Without random parts and without threads.
  public static let fuzzing = Environment(
    now: { 1_700_000_000_000_000_000 }, monotonic: { 0 }, randomID: { forgedTopicID },
    background: .inline)
}
