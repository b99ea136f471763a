// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("A snapshot, again and again")
struct SnapshotTests {
  private func texts(_ path: String) throws -> [String?] {
    try readAll(Topic(path)).records.map(\.text)
  }

  private func names(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  /// A topic in memory with one record.
  private func topic(_ text: String) throws -> (topic: Topic, writer: QueueWriter) {
    let topic = Topic.memory()
    let writer = try QueueWriter(topic: topic)
    try writer.append(text)
    return (topic, writer)
  }

  @Test("each round replaces the snapshot of the round before, from memory and from a disk")
  func rounds() throws {
    let directory = try TemporaryDirectory()
    for source in [Topic.memory(), Topic(directory.path + "/topic")] {
      let place = directory.path + "/snapshots-\(source.directoryPath == nil)"
      let writer = try QueueWriter(topic: source)
      // In the first round the topic has no slab, and so no id.
      for round in 0..<4 {
        if round > 0 {
          try writer.append("record \(round - 1)")
          try writer.flush()
        }
        try source.snapshot(to: place + "/latest/")
        #expect(try texts(place + "/latest") == (0..<round).map { "record \($0)" })
        #expect(try names(place) == ["latest"])
      }
      try writer.close()
    }
  }

  @Test("a snapshot of no records, but for the consumers' directory, is replaced as well")
  func emptySnapshot() async throws {
    let directory = try TemporaryDirectory()
    let (source, writer) = try topic("one")
    let path = directory.path + "/latest"
    try FileManager.default.createDirectory(
      atPath: path + "/consumers", withIntermediateDirectories: true)
    try source.snapshot(to: path)
    #expect(try texts(path) == ["one"])
    try await writer.close()
  }

  @Test("after a crash behind any step the path leads to the older snapshot or the new one, whole")
  func crashes() throws {
    let directory = try TemporaryDirectory()
    let images = try TemporaryDirectory()
    let (source, writer) = try topic("one")
    let path = directory.path + "/latest"
    try source.snapshot(to: path)
    try writer.append("two")
    var seen: [SnapshotPath.SnapshotStep] = []
    try source.snapshot(to: path) { step in
      seen.append(step)
      do {
        // A crash at this step would leave exactly these files.
        try FileManager.default.copyItem(
          atPath: directory.path, toPath: images.path + "/\(seen.count)")
      } catch {
        Issue.record(error)
      }
    }
    #expect(seen == SnapshotPath.SnapshotStep.allCases)
    for (number, step) in seen.enumerated() {
      let image = images.path + "/\(number + 1)"
      let expected = step == .copied ? ["one"] : ["one", "two"]
      #expect(try texts(image + "/latest") == expected, "\(step)")
      let left = try names(image).filter { $0.contains(".partial-") }
      #expect(left.count == (step == .olderRemoved ? 0 : 1), "\(step)")
      // The next snapshot succeeds from this state.
      try source.snapshot(to: image + "/latest")
      #expect(try texts(image + "/latest") == ["one", "two"], "\(step)")
      #expect(try names(image).filter { $0.contains(".partial-") } == left, "\(step)")
    }
    try writer.close()
  }

  @Test("an older snapshot that cannot be removed is an error, and the new one has its name")
  func olderStays() throws {
    let directory = try TemporaryDirectory()
    let (source, writer) = try topic("one")
    let path = directory.path + "/latest"
    try source.snapshot(to: path)
    try writer.append("two")
    // Neither a cursor nor a lock, and not a file that can be removed.
    try FileManager.default.createDirectory(
      atPath: path + "/consumers/other", withIntermediateDirectories: true)
    let error = #expect(throws: QueueError.self) { try source.snapshot(to: path) }
    #expect(try texts(path) == ["one", "two"])
    let left = try names(directory.path).filter { $0.contains(".partial-") }
    #expect(left.count == 1)
    #expect(error?.path == left.first.map { directory.path + "/" + $0 })
    try writer.close()
  }

  @Test("anything else at the path is refused before a byte is copied, and stays as it is")
  func refused() async throws {
    let directory = try TemporaryDirectory()
    let (source, writer) = try topic("mine")
    let (other, otherWriter) = try topic("theirs")
    let files = FileManager.default
    func at(_ name: String) -> String { directory.path + "/" + name }

    try writeFile(at("file"), [1])
    try files.createSymbolicLink(atPath: at("link"), withDestinationPath: at("opened"))
    for name in ["others", "mixed"] {
      try files.createDirectory(atPath: at(name), withIntermediateDirectories: true)
    }
    try writeFile(at("others/notes.txt"), [2])
    try source.snapshot(to: at("opened"))
    try source.snapshot(to: at("pristine"))
    try other.snapshot(to: at("foreign"))
    let slab = try #require(try names(at("pristine")).first { SlabName.parse($0) != nil })
    try files.copyItem(atPath: at("pristine/" + slab), toPath: at("mixed/" + slab))
    try writeFile(at("mixed/notes.txt"), [3])
    // A writer opens this snapshot, appends to it, and closes it.
    let opened = try QueueWriter(topic: Topic(at("opened")))
    try opened.append("of its own")
    try await opened.close()
    // This snapshot also gets a slab of another topic.
    try source.snapshot(to: at("two"))
    let theirs = try #require(try names(at("foreign")).first { SlabName.parse($0) != nil })
    try files.copyItem(
      atPath: at("foreign/" + theirs), toPath: at("two/" + SlabName.string(1 << 20)))

    let before = try DiskQueueTestSupport.snapshot(directory.path)
    for (name, code) in [
      ("file", .notATopic), ("link", .notATopic), ("others", .notATopic), ("mixed", .notATopic),
      ("opened", .locked), ("foreign", .unsupportedFormat), ("two", .unsupportedFormat),
    ] as [(String, QueueError.Code)] {
      var steps = 0
      let error = queueError { try source.snapshot(to: at(name)) { _ in steps += 1 } }
      #expect(error?.code == code, "\(name)")
      #expect(error?.path == at(name), "\(name)")
      #expect(steps == 0, "\(name)")
    }
    #expect(queueError { try source.snapshot(to: "") }?.code == .notATopic)
    #expect(
      queueError { try Topic(at("none")).snapshot(to: at("new")) }?.code == .noSuchTopic)
    #expect(try DiskQueueTestSupport.snapshot(directory.path) == before)
    // A topic on disk is not replaced by its own snapshot, whether or not a writer has it open.
    let itself = Topic(at("opened"))
    #expect(queueError { try itself.snapshot(to: at("opened")) }?.code == .locked)
    try await writer.close()
    try await otherWriter.close()
  }

  @Test("a stop at any moment of the copy leaves the older snapshot, and nothing else")
  func stopped() throws {
    let directory = try TemporaryDirectory()
    let (source, writer) = try topic("one")
    let path = directory.path + "/latest"
    try source.snapshot(to: path)
    try writer.append("two")
    var questions = 0
    while true {
      var left = questions
      let error = queueError {
        try source.snapshot(
          to: path,
          isStopped: {
            left -= 1
            return left < 0
          })
      }
      #expect(try names(directory.path) == ["latest"])
      guard let error else { break }
      #expect(error.code == .cancelled)
      #expect(try texts(path) == ["one"])
      questions += 1
    }
    #expect(questions > 0)
    #expect(try texts(path) == ["one", "two"])
    try writer.close()
  }

  /// A new directory `name` in `parent`, which holds the empty file `of-name`.
  private func marked(
    _ name: String, in parent: TemporaryDirectory
  ) throws -> PosixStorage {
    let path = parent.path + "/" + name
    let storage = try PosixStorage(creating: path, permissions: TopicPermissions())
    try writeFile(path + "/of-" + name, [])
    return storage
  }

  @Test("without an exchange in one step, two steps do it, and a failed second one is undone")
  func twoSteps() throws {
    let directory = try TemporaryDirectory()
    func at(_ name: String) -> String { directory.path + "/" + name }
    let (new, old) = (try marked("new", in: directory), try marked("old", in: directory))
    #expect(try new.exchangeNameInTwoSteps(with: old.path) == at("new.old"))
    #expect(try names(at("old")) == ["of-new"])
    #expect(try names(at("new.old")) == ["of-old"])
    // The copy is gone. So the second step fails, and the older directory gets its name back.
    let gone = try marked("gone", in: directory)
    try gone.removeAll()
    #expect(throws: SystemError.self) { try gone.exchangeNameInTwoSteps(with: at("old")) }
    #expect(try names(directory.path) == ["new.old", "old"])
    #expect(try names(at("old")) == ["of-new"])
  }

  @Test("an exchange is undone, of one step and of two", arguments: [false, true])
  func undone(isInTwoSteps: Bool) throws {
    let directory = try TemporaryDirectory()
    func at(_ name: String) -> String { directory.path + "/" + name }
    let (new, old) = (try marked("new", in: directory), try marked("old", in: directory))
    let aside =
      isInTwoSteps
      ? try new.exchangeNameInTwoSteps(with: old.path) : try new.exchangeName(with: old.path)
    #expect(try names(at("old")) == ["of-new"])
    try new.returnName(old.path, to: aside)
    #expect(try names(directory.path) == ["new", "old"])
    #expect(try names(at("old")) == ["of-old"])
    #expect(try names(at("new")) == ["of-new"])
  }

  @Test("a snapshot that a writer opens while the next one is copied is not replaced")
  func openedMeanwhile() throws {
    let directory = try TemporaryDirectory()
    let (source, writer) = try topic("one")
    let path = directory.path + "/latest"
    try source.snapshot(to: path)
    try writer.append("two")
    var opened: QueueWriter?
    let error = queueError {
      try source.snapshot(to: path) { step in
        guard step == .copied else { return }
        do {
          opened = try QueueWriter(topic: Topic(path))
          try opened?.append("of its own")
        } catch {
          Issue.record(error)
        }
      }
    }
    #expect(error?.code == .locked)
    try #require(opened).close()
    #expect(try texts(path) == ["one", "of its own"])
    #expect(try names(directory.path) == ["latest"])
    try writer.close()
  }
}
