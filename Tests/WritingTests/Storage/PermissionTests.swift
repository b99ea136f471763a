// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("Permissions and owners of what is made in a topic")
struct PermissionTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.path + "/topic"
  }

  private func status(_ path: String) throws -> stat {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw SystemError(errno: errno, call: "lstat") }
    return status
  }

  private func bits(_ path: String) throws -> Int { Int(try status(path).st_mode & 0o777) }

  private func slabNames(_ path: String) throws -> [String] {
    try slabs(path).keys.sorted().map { SlabName.string($0) }
  }

  /// Appends several slabs of records. Then a consumer dead-letters the first record.
  private func use(_ path: String, _ options: QueueWriter.Options = .init()) async throws {
    var options = options
    options.slabSize = .kibibytes(4)
    let writer = try QueueWriter(topic: Topic(path), options: options)
    for number in 0..<300 { try writer.append("record \(number) of several slabs") }
    try await writer.close()
    let consumer = try QueueConsumer(topic: Topic(path), name: "c", from: .earliest)
    if let batch = try await consumer.nextBatch(upTo: 1, following: false) {
      try await batch.deadLetter(0, reason: "a test")
    }
    try await consumer.close()
  }

  @Test(
    "what is new takes after the newest slab, whatever the umask is; a lock less",
    arguments: [
      (0o640, 0o750, 0o600), (0o660, 0o770, 0o660), (0o644, 0o755, 0o600), (0o666, 0o777, 0o666),
      (0o600, 0o700, 0o600),
    ])
  func inherited(files: Int, directories: Int, lock: Int) async throws {
    try await use(path)
    for name in try slabNames(path) { chmod(path + "/" + name, mode_t(files)) }
    chmod(path, mode_t(directories))
    for name in ["lock", "consumers", "../topic.dead"] { try removeFile(path + "/" + name) }
    let old = Set(try slabNames(path))
    try await use(path)
    let new = try slabNames(path).filter { !old.contains($0) }
    #expect(new.count > 1)
    for name in new { #expect(try bits(path + "/" + name) == files, "\(name)") }
    #expect(try bits(path + "/lock") == lock)
    #expect(try bits(path + "/consumers") == directories)
    #expect(try bits(path + "/consumers/c.cursor") == files)
    // The dead-letter topic gets the same permissions.
    #expect(try bits(path + ".dead") == directories)
    #expect(try bits(path + ".dead/" + SlabName.string(0)) == files)
    // No temporary name is left.
    let names = try FileManager.default.contentsOfDirectory(atPath: path)
    #expect(!names.contains { $0.hasPrefix(".") })
  }

  @Test("a new topic has what its options say, less the umask, and so has its lock")
  func new() async throws {
    let mask = umask(0)
    umask(mask)
    var options = QueueWriter.Options()
    options.permissions = TopicPermissions(directories: 0o775, files: 0o664)
    try await use(path, options)
    #expect(try bits(path) == 0o775 & ~Int(mask))
    #expect(try bits(path + "/" + slabNames(path)[0]) == 0o664 & ~Int(mask))
    let files = 0o664 & ~UInt16(mask)
    #expect(try bits(path + "/lock") == Int(TopicPermissions.lock(from: files)))
  }

  @Test("shards take after the directory that holds them")
  func shards() throws {
    let writer = try ShardedWriter(topic: ShardedTopic(path, shards: 4))
    try writer.append("one", key: "a")
    try writer.close()
    chmod(path, 0o750)
    chmod(path + "/shards", 0o640)
    let next = try ShardedWriter(topic: ShardedTopic(path))
    for key in 0..<30 { try next.append("two", key: "\(key)") }
    try next.close()
    let first = ShardName.string(try ShardedTopic(path).shard(of: "a"))
    let new = try FileManager.default.contentsOfDirectory(atPath: path).filter {
      ShardName.parse($0) != nil && $0 != first
    }
    #expect(!new.isEmpty)
    for name in new {
      #expect(try bits(path + "/" + name) == 0o750)
      #expect(try bits(path + "/\(name)/" + SlabName.string(0)) == 0o640)
    }
  }

  @Test("an existing lock that others may read is narrowed by the writer that holds it")
  func narrowed() async throws {
    try await use(path)
    for (before, after) in [(0o644, 0o600), (0o664, 0o660), (0o640, 0o600), (0o600, 0o600)] {
      chmod(path + "/lock", mode_t(before))
      try await QueueWriter(topic: Topic(path)).close()
      #expect(try bits(path + "/lock") == after)
    }
  }

  @Test(
    "root leaves nothing that the topic's user cannot open", .enabled(if: geteuid() == 0))
  func root() async throws {
    let (user, group): (uid_t, gid_t) = (65534, 65534)
    chown(directory.path, user, group)
    // Both topics are in directories that were made before and belong to the user.
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    chown(path, user, group)
    try await use(path)
    try await use(path)
    let sharded = directory.path + "/sharded"
    try FileManager.default.createDirectory(atPath: sharded, withIntermediateDirectories: false)
    chown(sharded, user, group)
    let writer = try ShardedWriter(topic: ShardedTopic(sharded, shards: 4))
    for key in 0..<30 { try writer.append("one", key: "\(key)") }
    try await writer.close()
    var count = 0
    for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
      let found = try status(directory.path + "/" + name)
      #expect(found.st_uid == user && found.st_gid == group, "\(name)")
      count += 1
    }
    #expect(count > 20)
  }

  @Test("a directory that a crash left unfinished is finished by the next call")
  func unfinished() async throws {
    try await use(path)
    chmod(path, 0o750)
    try removeFile(path + "/consumers")
    try FileManager.default.createDirectory(
      atPath: path + "/.consumers.new", withIntermediateDirectories: false)
    try await use(path)
    #expect(try bits(path + "/consumers") == 0o750)
    #expect(!FileManager.default.fileExists(atPath: path + "/.consumers.new"))
  }

  // MARK: The holder of the lock

  @Test("the sentence says whether the process is running, has ended, or only reads")
  func sentences() throws {
    let writer = try QueueWriter(topic: Topic(path))
    let running = queueError { _ = try QueueWriter(topic: Topic(path)) }
    #expect(running?.code == .locked)
    #expect(running?.message.contains("process \(getpid()), which is running") == true)
    // A process that does not exist: its number is above every number that the kernel gives out.
    Array("99999999\n".utf8).withUnsafeBytes { bytes in
      let file = open(path + "/lock", O_WRONLY)
      #expect(pwrite(file, bytes.baseAddress, bytes.count, 0) == bytes.count)
      close(file)
    }
    let ended = queueError { _ = try QueueWriter(topic: Topic(path)) }
    #expect(ended?.message.contains("process 99999999, which is not running") == true)
    try writer.close()
    #if os(Linux)
      let file = open(path + "/lock", O_RDONLY)
      defer { close(file) }
      var request = flock()
      request.l_type = Int16(F_RDLCK)
      request.l_whence = Int16(SEEK_SET)
      #expect(fcntl(file, 37, &request) == 0)
      let reading = queueError { _ = try QueueWriter(topic: Topic(path)) }
      #expect(reading?.code == .locked)
      #expect(reading?.message.contains("read lock") == true)
    #endif
  }
}
