// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

#if os(Linux)
  /// A disk of one megabyte; nothing where this process may not mount one.
  @Suite("A full disk, as the program meets it")
  struct FullDiskProgramTests {
    private static let isPossible: Bool = {
      guard let directory = try? TemporaryDirectory(), mount(directory.path) else { return false }
      unmount(directory.path)
      return true
    }()

    private static func mount(_ path: String) -> Bool {
      run("/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path)
    }

    private static func unmount(_ path: String) { _ = run("/bin/umount", path) }

    private static func run(_ program: String, _ arguments: String...) -> Bool {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: program)
      process.arguments = arguments
      process.standardError = FileHandle.nullDevice
      guard (try? process.run()) != nil else { return false }
      process.waitUntilExit()
      return process.terminationStatus == 0
    }

    private func input(_ directory: TemporaryDirectory) throws -> String {
      let path = directory.at("input")
      try writeFile(path, Array(recordLines(0..<100_000).map { $0 + "\n" }.joined().utf8))
      return path
    }

    @Test(
      "append says so and keeps what it took; consumers go on, and cleaning makes room",
      .enabled(if: isPossible))
    func full() throws {
      let (disk, other) = (try TemporaryDirectory(), try TemporaryDirectory())
      try #require(Self.mount(disk.path))
      defer { Self.unmount(disk.path) }
      let topic = disk.at("topic")
      try makeTopic(topic, records: 1, options: ["--slab-size", "64KiB"])
      #expect(try Diskq.run("consume", topic, "--consumer", "one").lines == ["record 0"])
      let appended = try Diskq.run(
        "append", topic, try input(other), "--slab-size", "64KiB")
      #expect(appended.status == 2)
      #expect(appended.errors.contains("free some space, and try again"))
      // Acknowledging needs no room.
      let consumed = try Diskq.run("consume", topic, "--consumer", "one")
      #expect(consumed.status == 0, "\(consumed.errors)")
      #expect(consumed.lines == recordLines(0..<consumed.lines.count))
      #expect(consumed.lines.count > 10_000)
      let cleaned = try Diskq.run(
        "clean", topic, "--keep-bytes", "100KiB", "--minimum-keep-bytes", "0")
      #expect(cleaned.status == 0, "\(cleaned.errors)")
      #expect(cleaned.lines.count > 5)
      #expect(try Diskq.run("append", topic, input: "after\n").status == 0)
      #expect(try Diskq.run("consume", topic, "--consumer", "one").lines.last == "after")
    }

    @Test("with drop-oldest a full disk loses the oldest records", .enabled(if: isPossible))
    func dropOldest() throws {
      let (disk, other) = (try TemporaryDirectory(), try TemporaryDirectory())
      try #require(Self.mount(disk.path))
      defer { Self.unmount(disk.path) }
      let topic = disk.at("topic")
      let appended = try Diskq.run(
        "append", topic, try input(other), "--slab-size", "64KiB", "--when-full", "drop-oldest")
      #expect(appended.status == 0, "\(appended.errors)")
      let lines = try Diskq.run("read", topic).lines
      #expect(lines == recordLines(100_000 - lines.count..<100_000))
      #expect(lines.count > 10_000)
    }
  }
#endif
