// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

#if os(Linux)
  @Suite("A full disk, as the program meets it")
  struct FullDiskProgramTests {
    private func input(_ directory: TemporaryDirectory) throws -> String {
      let path = directory.at("input")
      try writeFile(path, Array(recordLines(0..<100_000).map { $0 + "\n" }.joined().utf8))
      return path
    }

    @Test("append says so and keeps what it took; consumers go on, and cleaning makes room")
    func full() throws {
      let (disk, other) = (try SmallDisk(), try TemporaryDirectory())
      let topic = disk.at("topic")
      for (name, line) in [("first", "record 0\n"), ("last", "after\n")] {
        try writeFile(other.at(name), Array(line.utf8))
      }
      #expect(try disk.run("append", topic, other.at("first"), "--slab-size", "64KiB").status == 0)
      #expect(try disk.run("consume", topic, "--consumer", "one").lines == ["record 0"])
      let appended = try disk.run("append", topic, try input(other), "--slab-size", "64KiB")
      #expect(appended.status == 2)
      #expect(appended.errors.contains("free some space, and try again"))
      let stored = try disk.run("read", topic).lines.count - 1
      #expect(
        appended.errorLines.last
          == "diskq: stored \(stored) records of \(other.at("input")), up to line \(stored), and"
          + " nothing of the rest [\(topic)]")
      // Acknowledging needs no free space.
      let consumed = try disk.run("consume", topic, "--consumer", "one")
      #expect(consumed.status == 0, "\(consumed.errors)")
      #expect(consumed.lines == recordLines(0..<consumed.lines.count))
      #expect(consumed.lines.count > 10_000)
      let cleaned = try disk.run(
        "clean", topic, "--keep-bytes", "100KiB", "--minimum-keep-bytes", "0")
      #expect(cleaned.status == 0, "\(cleaned.errors)")
      #expect(cleaned.lines.count > 5)
      #expect(try disk.run("append", topic, other.at("last")).status == 0)
      #expect(try disk.run("consume", topic, "--consumer", "one").lines.last == "after")
    }

    @Test("with drop-oldest a topic that was not closed is opened on a full disk, and nothing else")
    func opening() throws {
      let (disk, other) = (try SmallDisk(), try TemporaryDirectory())
      let topic = disk.at("topic")
      try writeFile(
        other.at("lines"), Array(recordLines(0..<5000).map { $0 + "\n" }.joined().utf8))
      try writeFile(other.at("after"), Array("after\n".utf8))
      #expect(
        try disk.run("append", topic, other.at("lines"), "--slab-size", "8KiB").status == 0)
      let slabs = try disk.shell("ls '\(topic)'").lines.filter { $0.hasSuffix(".slab") }
      try #require(slabs.count > 5)
      // There is a byte after the closing mark, as after a crash. Another file takes all free
      // space.
      _ = try disk.shell(
        "printf x >> '\(topic)/\(slabs[slabs.count - 1])'; cat /dev/zero > '\(disk.at("tenant"))'")
      let failed = try disk.run("append", topic, other.at("after"))
      #expect(failed.status == 2)
      #expect(failed.errors.contains("No space left"))
      let appended = try disk.run("append", topic, other.at("after"), "--when-full", "drop-oldest")
      #expect(appended.status == 0, "\(appended.errors)")
      let lines = try disk.run("read", topic).lines
      #expect(lines.last == "after")
      #expect(lines.dropLast() == recordLines(5001 - lines.count..<5000)[...])
      #expect(lines.count > 4000 && lines.count < 5000)
    }

    @Test("with drop-oldest a full disk loses the oldest records")
    func dropOldest() throws {
      let (disk, other) = (try SmallDisk(), try TemporaryDirectory())
      let topic = disk.at("topic")
      let appended = try disk.run(
        "append", topic, try input(other), "--slab-size", "64KiB", "--when-full", "drop-oldest")
      #expect(appended.status == 0, "\(appended.errors)")
      let lines = try disk.run("read", topic).lines
      #expect(lines == recordLines(100_000 - lines.count..<100_000))
      #expect(lines.count > 10_000)
    }
  }

  /// A disk of one megabyte that only programs started by it can see. It is mounted for a process
  /// that does nothing else, and is gone when that process ends.
  final class SmallDisk {
    private let directory: TemporaryDirectory
    private let holder = Process()
    private let input = Pipe()
    /// The flags with which another process sees the same mounts as the holder.
    private let entrance: String

    /// - Throws: An error if neither root nor a user's own namespace may mount. Then the test
    ///   cannot run.
    init() throws {
      let directory = try TemporaryDirectory()
      self.directory = directory
      // As root, or else as the root of a namespace of its own, if the system allows that.
      let ways = [("-m", "-m"), ("-rm", "-U -m --preserve-credentials")]
      func mount(_ flags: String) throws -> Bool {
        try Diskq.shell(
          "exec unshare \(flags) mount -t tmpfs -o size=1m tmpfs \"$1\" 2>&1", directory.path
        ).status == 0
      }
      guard let (flags, entrance) = try ways.first(where: { try mount($0.0) }) else {
        throw NoSmallDisk()
      }
      self.entrance = entrance
      let output = Pipe()
      for pipe in [input, output] {
        // Processes that other tests start meanwhile must not hold these open.
        for handle in [pipe.fileHandleForReading, pipe.fileHandleForWriting] {
          _ = fcntl(handle.fileDescriptor, F_SETFD, FD_CLOEXEC)
        }
      }
      holder.executableURL = URL(fileURLWithPath: "/bin/sh")
      // The holder ends with its input, whatever happens to this process.
      let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && echo mounted && read -r end"
      holder.arguments = [
        "-c", "exec unshare \(flags) sh -c '\(script)' sh \"$0\"", directory.path,
      ]
      holder.standardInput = input
      holder.standardOutput = output
      try holder.run()
      try output.fileHandleForWriting.close()
      let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
      guard said == "mounted\n" else { throw NoSmallDisk() }
    }

    deinit {
      try? input.fileHandleForWriting.close()
      holder.waitUntilExit()
    }

    func at(_ name: String) -> String { directory.at(name) }

    /// Runs the program so that it sees the disk.
    func run(_ arguments: String...) throws -> Outcome {
      let words = arguments.map { "'\($0)'" }.joined(separator: " ")
      return try Diskq.shell(
        "exec nsenter -t \(holder.processIdentifier) \(entrance) -- \"$0\" \(words)")
    }

    /// Runs a script so that it sees the disk.
    func shell(_ script: String) throws -> Outcome {
      try Diskq.shell(
        "exec nsenter -t \(holder.processIdentifier) \(entrance) -- sh -c \"$1\"", script)
    }

    /// The names in the disk's directory.
    func names() throws -> [String] {
      try Diskq.shell(
        "exec nsenter -t \(holder.processIdentifier) \(entrance) -- ls -A \"$1\"", directory.path
      ).lines
    }

    private struct NoSmallDisk: Error, CustomStringConvertible {
      let description =
        "a small file system cannot be mounted here: run the tests as root with CAP_SYS_ADMIN, or"
        + " where `unshare -rm mount -t tmpfs tmpfs DIRECTORY` is allowed"
    }
  }
#endif
