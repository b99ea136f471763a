// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

/// Every storage gives the same answers about its names.
@Suite("Names in a storage")
struct StorageNamesTests {
  enum Kind: CaseIterable { case disk, memory, simulated }

  /// A new storage, and its directory if it has one.
  private func make(_ kind: Kind) throws -> (storage: any TopicStorage, TemporaryDirectory?) {
    switch kind {
    case .disk:
      let directory = try TemporaryDirectory()
      return (try PosixStorage(path: directory.path), directory)
    case .memory: return (MemoryStorage(capacity: 1 << 20), nil)
    case .simulated: return (SimulatedStorage(), nil)
    }
  }

  private func byte(_ storage: any StorageDirectory, _ name: String) throws -> UInt8 {
    var bytes: [UInt8] = [0]
    let file = try storage.open(name, writable: false)
    let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
    return try #require(count == 1 ? bytes[0] : nil)
  }

  private func put(_ byte: UInt8, _ name: String, _ storage: any StorageDirectory) throws {
    let bytes = [byte]
    #expect(try storage.create(name).write(bytes.span.bytes, at: 0) == 1)
  }

  @Test("a file keeps its identity under a new name", arguments: Kind.allCases)
  func renamed(_ kind: Kind) throws {
    let (storage, directory) = try make(kind)
    defer { withExtendedLifetime(directory) {} }
    try put(1, "one", storage)
    let file = try storage.open("one", writable: false)
    #expect(try storage.identity(of: "one") == file.identity())
    try storage.rename("one", to: "two")
    #expect(try storage.identity(of: "one") == nil)
    #expect(try storage.identity(of: "two") == file.identity())
    #expect(try byte(storage, "two") == 1)
    #expect(throws: SystemError(errno: Errno.noEntry, call: "renameat2")) {
      try storage.rename("one", to: "three")
    }
  }

  @Test("no rename replaces a file", arguments: Kind.allCases)
  func neverReplaces(_ kind: Kind) throws {
    let (storage, directory) = try make(kind)
    defer { withExtendedLifetime(directory) {} }
    try put(1, "one", storage)
    try put(2, "two", storage)
    #expect(throws: SystemError(errno: Errno.exists, call: "renameat2")) {
      try storage.rename("one", to: "two")
    }
    #expect(try byte(storage, "one") == 1)
    #expect(try byte(storage, "two") == 2)
    #expect(try storage.identity(of: "one") != storage.identity(of: "two"))
  }

  @Test("a file made under the name of a removed one is another file", arguments: Kind.allCases)
  func madeAnew(_ kind: Kind) throws {
    let (storage, directory) = try make(kind)
    defer { withExtendedLifetime(directory) {} }
    try put(1, "one", storage)
    let removed = try storage.open("one", writable: false)
    try storage.remove("one")
    #expect(try storage.identity(of: "one") == nil)
    try put(2, "one", storage)
    #expect(try storage.identity(of: "one") != removed.identity())
  }

  @Test("a removed lock file does not keep its lock from the next one", arguments: Kind.allCases)
  func lockMadeAnew(_ kind: Kind) throws {
    let (storage, directory) = try make(kind)
    defer { withExtendedLifetime(directory) {} }
    let first = try storage.lock()
    try storage.remove(TopicLayout.lockName)
    let second = try storage.lock()
    #expect(try storage.identity(of: TopicLayout.lockName) == second.file.identity())
    #expect(try storage.identity(of: TopicLayout.lockName) != first.file.identity())
    first.release()
    #expect(throws: SystemError.self) { try storage.lock() }
    second.release()
  }
}
