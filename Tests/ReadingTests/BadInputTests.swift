// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

/// Wrong files and paths that a user may give. Each test checks the error's code, path, address and
/// message, and that the directory is unchanged.
@Suite("Bad input")
struct BadInputTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.path + "/topic"
  }

  /// Makes a topic of three slabs, closed unless `close` is false. Returns its records.
  @discardableResult
  func makeTopic(close: Bool = true) throws -> [QueueRecord] {
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(
      topic: Topic(path), options: options, environment: fixedEnvironment())
    for number in 0..<500 { try writer.append("record \(number)") }
    if close { try writer.close() } else { try writer.flush() }
    let records = try readAll(Topic(path)).records
    #expect(records.count == 500)
    return records
  }

  func slab(_ index: Int) throws -> String {
    let bases = try slabs(path).keys.sorted()
    return path + "/" + SlabName.string(bases[index])
  }

  /// Runs `body`, which must fail, and checks that it changed nothing.
  func failure(_ body: () throws -> Void) throws -> QueueError {
    let before = try snapshot(directory.path)
    let error = queueError(body)
    #expect(try snapshot(directory.path) == before)
    return try #require(error)
  }

  @Test("a reader of a path where nothing is")
  func missing() throws {
    let error = try failure { _ = try QueueReader(topic: Topic(path)) }
    #expect(error.code == .noSuchTopic)
    #expect(error.path == path)
    #expect(error.message.contains("append"))
  }

  @Test("a path that is a file, for a reader and a writer")
  func aFile() throws {
    try writeFile(path, [1, 2, 3])
    for body: () throws -> Void in [
      { _ = try QueueReader(topic: Topic(path)) }, { _ = try QueueWriter(topic: Topic(path)) },
    ] {
      let error = try failure(body)
      #expect(error.code == .notATopic)
      #expect(error.path == path)
      #expect(error.message.contains("file"))
    }
    let error = try failure { _ = try QueueWriter(topic: Topic(path + "/below")) }
    #expect(error.code == .notATopic)
  }

  @Test("a path with a NUL opens nothing, and not the topic that its first part names")
  func nul() throws {
    try makeTopic()
    let longer = Topic(path + "\0/other")
    for body: () throws -> Void in [
      { _ = try QueueReader(topic: longer) }, { _ = try QueueWriter(topic: longer) },
    ] {
      let error = try failure(body)
      #expect(error.code == .notATopic)
      #expect(error.path == path + "\\0/other")
    }
  }

  @Test("a directory of other files is no topic, and stays as it is")
  func otherFiles() throws {
    try writeFile(path + "/letter.txt", [1])
    for body: () throws -> Void in [
      { _ = try QueueReader(topic: Topic(path)) }, { _ = try QueueWriter(topic: Topic(path)) },
    ] {
      let error = try failure(body)
      #expect(error.code == .notATopic)
      #expect(error.path == path)
    }
  }

  @Test(
    "a new topic is made beside what volumes and tools put into a directory",
    arguments: ["lost+found/#12", ".gitkeep", ".snapshot/old", ".nfs000000000000000100000001"])
  func neutralNames(name: String) throws {
    try writeFile(path + "/" + name, [1])
    #expect(queueError { _ = try QueueReader(topic: Topic(path)) }?.code == nil)
    let writer = try QueueWriter(topic: Topic(path))
    try writer.append("first")
    try writer.close()
    #expect(try readAll(Topic(path)).records.map(\.text) == ["first"])
    let shards = directory.path + "/shards"
    try writeFile(shards + "/" + name, [1])
    try ShardedWriter(topic: ShardedTopic(shards, shards: 4)).close()
    #expect(try ShardedTopic(shards).shardCount() == 4)
    // The file that was there stays.
    #expect(FileManager.default.fileExists(atPath: path + "/" + name))
  }

  @Test("G14: a symbolic link for a topic or a slab is not followed")
  func links() throws {
    try makeTopic()
    let link = directory.path + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    let error = try failure { _ = try QueueReader(topic: Topic(link)) }
    #expect(error.code == .notATopic)
    #expect(error.message.contains("symbolic link"))
    #expect(try readAll(Topic(link + "/")).records.count == 500)

    let first = try slab(0)
    try FileManager.default.moveItem(atPath: first, toPath: directory.path + "/elsewhere")
    try FileManager.default.createSymbolicLink(
      atPath: first, withDestinationPath: directory.path + "/elsewhere")
    let slabError = try failure { _ = try readAll(Topic(path)) }
    #expect(slabError.path == first)
    #expect(slabError.message.contains("link"))
  }

  @Test("G14: a pipe or a directory in a slab's place is refused, and does not hang")
  func otherKinds() throws {
    try makeTopic()
    let first = try slab(0)
    try removeFile(first)
    #expect(mkfifo(first, 0o600) == 0)
    let pipe = queueError { _ = try readAll(Topic(path)) }
    #expect(pipe?.path == first)
    #expect(pipe?.message.contains("regular file") == true)
    try removeFile(first)
    try FileManager.default.createDirectory(atPath: first, withIntermediateDirectories: false)
    let folder = queueError { _ = try readAll(Topic(path)) }
    #expect(folder?.path == first)
  }

  @Test("G8: two writers: the second is told who has it, in this process too, and nothing happens")
  func twoWriters() throws {
    try makeTopic()
    let writer = try QueueWriter(topic: Topic(path))
    let error = try failure { _ = try QueueWriter(topic: Topic(path)) }
    #expect(error.code == .locked)
    #expect(error.path == path)
    #expect(error.message.contains("process \(ProcessInfo.processInfo.processIdentifier)"))
    try writer.close()
    try QueueWriter(topic: Topic(path)).close()
  }

  @Test("a slab's name that does not parse is ignored")
  func strayNames() throws {
    let records = try makeTopic()
    for name in ["12.slab", "notes.txt", "00000000000000000000.slab.bak"] {
      try writeFile(path + "/" + name, [9, 9, 9])
    }
    #expect(try readAll(Topic(path)).records == records)
    let writer = try QueueWriter(topic: Topic(path))
    #expect(writer.recovery.wasClean)
    try writer.close()
  }

  @Test("a slab of a higher version, or with an unknown flag, is refused by its path")
  func newerVersion() throws {
    let records = try makeTopic()
    let bases = try slabs(path).keys.sorted()
    for (offset, word) in [(8, "version 3"), (10, "flags")] {
      let second = try slab(1)
      let original = try readFile(second)
      var bytes = original
      bytes[offset] = offset == 8 ? 3 : 1
      let hash = Checksum.xxh3(bytes.span.bytes.extracting(first: 72), seed: 0)
      for index in 0..<8 { bytes[72 + index] = UInt8(truncatingIfNeeded: hash >> (8 * index)) }
      try writeFile(second, bytes)
      var reader = try QueueReader(topic: Topic(path))
      var count = 0
      // Every retry is refused, and skips nothing.
      for _ in 0..<3 {
        let error = queueErrorReading(&reader, &count)
        #expect(error?.code == .unsupportedFormat)
        #expect(error?.path == second)
        #expect(error?.message.contains(word) == true)
      }
      #expect(count == records.filter { $0.address.rawValue < bases[1] }.count)
      try writeFile(second, original)
    }
  }

  @Test("a slab of another topic is refused by its path")
  func foreignSlab() throws {
    try makeTopic()
    let second = try slab(1)
    var bytes = try readFile(second)
    bytes[64] ^= 0xFF
    let hash = Checksum.xxh3(bytes.span.bytes.extracting(first: 72), seed: 0)
    for index in 0..<8 { bytes[72 + index] = UInt8(truncatingIfNeeded: hash >> (8 * index)) }
    try writeFile(second, bytes)
    let error = try failure { _ = try readAll(Topic(path)) }
    #expect(error.code == .unsupportedFormat)
    #expect(error.path == second)
    #expect(error.message.contains("another topic"))
  }

  @Test("G14: a slab whose base does not match its name is damage, and costs its own records only")
  func renamedSlab() throws {
    let records = try makeTopic()
    let bases = try slabs(path).keys.sorted()
    let third = try readFile(slab(2))
    try writeFile(slab(1), third)
    let read = try readAll(Topic(path))
    let lost = records.filter { (bases[1]..<bases[2]).contains($0.address.rawValue) }
    #expect(read.records == records.filter { !lost.contains($0) })
    #expect(
      read.losses == [
        Loss(
          cause: .damaged,
          addresses: Address(rawValue: bases[1])..<Address(rawValue: bases[2]),
          records: UInt64(lost.count))
      ])
  }

  @Test("a flip in a header, a mark, a record: reported once, thrown or handed over as chosen")
  func flips() throws {
    let records = try makeTopic()
    let bases = try slabs(path).keys.sorted()
    let hit = try #require(records.first { $0.address.rawValue > bases[1] + 500 })
    let cases: [(byte: UInt64, from: UInt64, lost: Int)] = [
      (bases[1] + 20, bases[1], 0), (bases[1] + 90, bases[1] + 80, 0),
      (hit.address.rawValue + 9, hit.address.rawValue, 1),
      (hit.address.rawValue, hit.address.rawValue, 1),
    ]
    for (byte, from, lost) in cases {
      let second = try slab(1)
      try flipBit(second, byte: Int(byte - bases[1]))
      let read = try readAll(Topic(path))
      #expect(read.records == records.filter { lost == 0 || $0 != hit })
      #expect(read.losses.count == 1)
      #expect(read.losses.first?.records == UInt64(lost))
      #expect(read.losses.first?.addresses.lowerBound.rawValue == from)

      var reader = try QueueReader(topic: Topic(path))
      var count = 0
      let error = queueErrorReading(&reader, &count)
      #expect(error?.code == read.losses.first.map { .damaged($0) })
      #expect(error?.path == second)
      #expect(error?.address?.rawValue == from)
      #expect(queueErrorReading(&reader, &count) == nil)
      #expect(count == records.count - lost)
      try flipBit(second, byte: Int(byte - bases[1]))
    }
  }

  @Test("G9: a full disk: the append that does not fit fails, and goes on when there is room")
  func fullDisk() throws {
    let storage = MemoryStorage(capacity: 20_000)
    let topic = Topic(storage: storage)
    var options = QueueWriter.Options()
    options.slabSize = .kibibytes(8)
    options.bufferSize = .kibibytes(4)
    let writer = try QueueWriter(
      topic: topic, options: options, environment: fixedEnvironment())
    var landed: [String] = []
    var error: QueueError?
    while error == nil {
      let text = "record \(landed.count)"
      error = queueError { try writer.append(text) }
      if error == nil { landed.append(text) }
    }
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains("free some space") == true)
    #expect(error?.path != nil)
    #expect(queueError { try writer.flush() }?.code == .noSpace)
    let visible = try readAll(topic)
    let isPrefix = visible.texts == Array(landed.prefix(visible.texts.count))
    #expect(isPrefix)
    #expect(visible.texts.count > 500)
    // Removing the first slab frees space.
    try storage.remove(SlabName.string(0))
    try writer.append("after")
    try writer.close()
    let rest = try readAll(topic)
    let isRest = rest.texts == Array(landed.suffix(rest.texts.count - 1)) + ["after"]
    #expect(isRest)
    #expect(rest.texts.count > 500)
    #expect(rest.losses == [])
  }

  @Test(
    "G11: a read-only topic: the writer says so, readers do not care", .enabled(if: geteuid() == 0))
  func readOnly() throws {
    let records = try makeTopic()
    #expect(run("/bin/mount", "--bind", path, path) == 0)
    defer { _ = run("/bin/umount", path) }
    #expect(run("/bin/mount", "-o", "remount,ro,bind", path) == 0)
    let error = try failure { _ = try QueueWriter(topic: Topic(path)) }
    #expect(error.errno == EROFS)
    #expect(error.path == path + "/lock")
    #expect(error.message.contains("read-only"))
    #expect(try readAll(Topic(path)).records == records)
  }

  @Test(
    "a topic that this user may not read: the error says whose it may be",
    .enabled(if: geteuid() == 0))
  func unreadable() async throws {
    try makeTopic()
    try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
    await #expect(processExitsWith: .success) { [path = path as String] in
      #expect(seteuid(65534) == 0)
      // The process becomes root again, so that it may be searched for leaks when it ends.
      defer { #expect(seteuid(0) == 0) }
      for body: () throws -> Void in [
        { _ = try QueueReader(topic: Topic(path)) }, { _ = try QueueWriter(topic: Topic(path)) },
      ] {
        let error = queueError(body)
        #expect(error?.code == .system(errno: EACCES))
        #expect(error?.path == path)
        #expect(error?.message.contains("permissions") == true)
      }
    }
  }

  @Test("G14: a path with a zero byte, and an empty one, are refused")
  func oddPaths() throws {
    for path in ["", "a\0b"] {
      #expect(queueError { _ = try QueueReader(topic: Topic(path)) } != nil)
      #expect(queueError { _ = try QueueWriter(topic: Topic(path)) } != nil)
    }
  }

  /// Reads until an error or the end, and counts the records.
  private func queueErrorReading(_ reader: inout QueueReader, _ count: inout Int) -> QueueError? {
    do throws(QueueError) {
      while try reader.nextCopy() != nil { count += 1 }
      return nil
    } catch {
      return error
    }
  }

  private func run(_ program: String, _ arguments: String...) -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    do {
      try process.run()
    } catch {
      return -1
    }
    process.waitUntilExit()
    return process.terminationStatus
  }
}
