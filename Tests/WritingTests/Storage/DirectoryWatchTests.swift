// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Synchronization
import Testing

@testable import DiskQueue

@Suite("Watching a directory")
struct DirectoryWatchTests {
  private static let slab = SlabName.string(0)

  /// A directory with one slab file, and the storage through which the test changes it.
  private struct Place {
    let directory: TemporaryDirectory
    let storage: PosixStorage
    let file: any StorageFile

    init() throws {
      directory = try TemporaryDirectory()
      storage = try PosixStorage(path: directory.path)
      file = try storage.create(DirectoryWatchTests.slab)
    }

    func write() throws { _ = try file.write([1, 2, 3].span.bytes, at: 0) }
  }

  @Test("writes, new names and removed ones wake, made through whatever descriptor")
  func wakes() async throws {
    let place = try Place()
    let watch = try TopicWatch(place.storage)
    func wakes(_ change: () throws -> Void) async throws {
      let seen = watch.generation
      try change()
      try await watch.change(since: seen)
    }
    try await wakes { try place.write() }
    try await wakes { _ = try place.storage.create("another") }
    try await wakes { try place.storage.remove("another") }
    try await wakes { try writeFile(place.directory.path + "/foreign", [1]) }
    try await wakes { try place.file.truncate(to: 1) }
    #expect(watch.generation >= 5)
  }

  @Test("fifty watches on one directory are all woken, whichever of them go, in any order")
  func manyWatches() async throws {
    let place = try Place()
    var random = SeededGenerator(seed: 50)
    var watches: [TopicWatch] = []
    for number in 0..<50 {
      // Every second watch opens the same directory through a storage of its own.
      let storage = number % 2 == 0 ? place.storage : try PosixStorage(path: place.directory.path)
      watches.append(try TopicWatch(storage))
    }
    while !watches.isEmpty {
      let seen = watches.map(\.generation)
      try place.write()
      for (watch, generation) in zip(watches, seen) {
        try await watch.change(since: generation)
      }
      for _ in 0..<min(watches.count, 1 + random.below(5)) {
        watches.remove(at: random.below(watches.count))
      }
    }
    // The kernel's watch ended with the last one. A new watch gets a new one.
    let watch = try TopicWatch(place.storage)
    let seen = watch.generation
    try place.write()
    try await watch.change(since: seen)
    #expect(watch.generation > seen)
  }

  @Test("a watch that goes and comes again at once misses nothing")
  func comesAgain() async throws {
    let place = try Place()
    var watch: TopicWatch? = try TopicWatch(place.storage)
    for _ in 0..<300 {
      // This ends the kernel's watch. The next one begins on the same directory.
      watch = nil
      let new = try TopicWatch(place.storage)
      let seen = new.generation
      try place.write()
      try await new.change(since: seen)
      watch = new
    }
    #expect(watch != nil)
  }

  @Test("a change made in this process is told before it returns, to the watches of its directory")
  func reportedAtOnce() throws {
    let place = try Place()
    let other = try Place()
    let (changes, elsewhere) = (Progress(), Progress())
    let own = try PosixStorage(path: place.directory.path)
    var watch: (any StorageWatch)? = try own.watch { changes.advance() }
    let otherWatch = try other.storage.watch { elsewhere.advance() }
    // Repeated 200 times, because the kernel's own event may sometimes come first.
    for number in 0..<200 {
      func isReported(_ change: () throws -> Void) rethrows -> Bool {
        let seen = changes.value
        try change()
        return changes.value > seen
      }
      #expect(try isReported { try place.write() })
      #expect(try isReported { _ = try place.storage.create("file \(number)") })
      #expect(
        try isReported {
          let file = try place.storage.open("file \(number)", writable: true)
          _ = try file.write([1].span.bytes, at: 0)
        })
      #expect(try isReported { try place.storage.remove("file \(number)") })
    }
    #expect(elsewhere.value == 0)
    #expect(DirectoryWatcher.shared.watchCount(of: own.identity) == 1)
    watch = nil
    #expect(DirectoryWatcher.shared.watchCount(of: own.identity) == 0 && watch == nil)
    withExtendedLifetime(otherWatch) {}
  }

  @Test("who says that a directory changed reaches the watches that are there, and no others")
  func saysChanged() throws {
    let watcher = DirectoryWatcher()
    let (place, other) = (try Place(), try Place())
    let counts = (0..<3).map { _ in Progress() }
    let paths = [place.directory.path, place.directory.path, other.directory.path]
    // Without a watch, a change does nothing.
    watcher.changed(in: place.storage.identity)
    var watches: [any StorageWatch] = []
    for (path, count) in zip(paths, counts) {
      let descriptor = try Syscalls.openDirectory(path)
      defer { Syscalls.closeFile(descriptor) }
      watches.append(try watcher.watch(descriptor, path: path) { count.advance() })
    }
    watcher.changed(in: place.storage.identity)
    #expect(counts.map(\.value) == [1, 1, 0])
    watcher.changed(in: other.storage.identity)
    #expect(counts.map(\.value) == [1, 1, 1])
    watches.removeFirst()
    watcher.changed(in: place.storage.identity)
    #expect(counts.map(\.value) == [1, 2, 1])
    watches.removeAll()
    watcher.changed(in: place.storage.identity)
    watcher.changed(in: other.storage.identity)
    #expect(counts.map(\.value) == [1, 2, 1])
  }

  /// Holds a watch, so that the watch's own callback can drop it.
  private final class Holder: Sendable {
    // Guarded, because two threads may call `hold` at once.
    private let held = Mutex<(any StorageWatch)?>(nil)

    func hold(_ watch: (any StorageWatch)?) {
      let dropped = held.withLock { held in
        defer { held = watch }
        return held
      }
      // The old watch is released outside the lock.
      _ = dropped
    }
  }

  @Test("a watch may be dropped from within its own call")
  func droppedWithin() async throws {
    let place = try Place()
    let called = Progress()
    let ready = Progress()
    let holder = Holder()
    holder.hold(
      try place.storage.watch {
        try? ready.waitBlocking(for: 1)
        holder.hold(nil)
        called.advance()
      })
    ready.advance()
    try place.write()
    try await called.wait(for: 1)
    // The watcher's thread is still alive, and wakes other watches.
    let watch = try TopicWatch(place.storage)
    let seen = watch.generation
    try place.write()
    try await watch.change(since: seen)
    #expect(watch.generation > seen)
  }

  @Test("it goes by the directory, and not by its path")
  func renamedDirectory() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/topic"
    let storage = try PosixStorage(creating: path, permissions: .init())
    let watch = try TopicWatch(storage)
    try copyDirectory(path, to: directory.path + "/other")
    try moveFile(path, to: directory.path + "/moved")
    try moveFile(directory.path + "/other", to: path)
    let late = try TopicWatch(storage)
    let seen = (watch.generation, late.generation)
    try writeFile(directory.path + "/moved/file", [1])
    try await watch.change(since: seen.0)
    try await late.change(since: seen.1)
    #expect(late.generation > seen.1)
  }

  @Test("a limit that is reached is told with its name")
  func limits() {
    let watches = QueueError.watchFailed(
      SystemError(errno: Errno.noSpace, call: "inotify_add_watch"), path: "topic")
    #expect(watches.code == .system(errno: Errno.noSpace))
    #expect(watches.message.contains("fs.inotify.max_user_watches"))
    let instances = QueueError.watchFailed(
      SystemError(errno: Errno.tooManyFiles, call: "inotify_init1"), path: "topic")
    #expect(instances.code == .system(errno: Errno.tooManyFiles))
    #expect(instances.message.contains("fs.inotify.max_user_instances"))
    #expect(instances.path == "topic")
  }

  #if !canImport(Darwin)
    /// One event as the kernel writes it, in the byte order of the machine.
    private func event(_ watch: Int32, _ mask: UInt32, name: [UInt8] = [], says: UInt32? = nil)
      -> [UInt8]
    {
      var bytes: [UInt8] = []
      let length = says ?? UInt32(name.count)
      for field in [UInt32(bitPattern: watch), mask, 0, length] {
        withUnsafeBytes(of: field) { bytes += $0 }
      }
      return bytes + name
    }

    private func changes(_ bytes: [UInt8]) -> DirectoryChanges {
      DirectoryChanges(bytes.span.bytes)
    }

    @Test("events are told apart, with names and without")
    func parses() {
      #expect(changes([]) == DirectoryChanges())
      let name = Array("00000000000000000000.slab".utf8) + [0, 0, 0, 0, 0, 0, 0]
      let bytes = event(3, 2, name: name) + event(1, 0x8000) + event(3, 0x100, name: name)
      #expect(changes(bytes) == DirectoryChanges(directories: [1, 3]))
    }

    @Test("that the queue ran over is told to everybody")
    func overflow() {
      let bytes = event(1, 2) + event(-1, Syscalls.ChangeEvent.overflow) + event(2, 2)
      #expect(
        changes(bytes) == DirectoryChanges(directories: [1, 2], areIncomplete: true))
    }

    @Test("an event that was dropped, since the queue ran over, still wakes")
    func dropsEvents() async throws {
      let limit = String(
        decoding: try readFile("/proc/sys/fs/inotify/max_queued_events"), as: UTF8.self)
      let most = try #require(Int(limit.filter(\.isNumber)))
      // A watcher of its own, because the test holds up its thread.
      let watcher = DirectoryWatcher()
      let noisy = try Place()
      let quiet = try Place()
      let held = Progress()
      let release = Progress()
      let changes = Progress()
      let descriptors = [
        try Syscalls.openDirectory(noisy.directory.path),
        try Syscalls.openDirectory(quiet.directory.path),
      ]
      defer { for descriptor in descriptors { Syscalls.closeFile(descriptor) } }
      let first = try watcher.watch(descriptors[0], path: noisy.directory.path) {
        held.advance()
        try? release.waitBlocking(for: 1)
      }
      let second = try watcher.watch(descriptors[1], path: quiet.directory.path) {
        changes.advance()
      }
      try noisy.write()
      try await held.wait(for: 1)
      let another = try noisy.storage.create("another")
      // Two files alternate, because the kernel merges two equal events in a row.
      for _ in 0...most / 2 {
        try noisy.write()
        _ = try another.write([1].span.bytes, at: 0)
      }
      try quiet.write()
      #expect(changes.value == 0)
      release.advance()
      try await changes.wait(for: 1)
      withExtendedLifetime((first, second)) {}
    }

    @Test("bytes that make no sense mean that anything may have changed, and never a trap")
    func hostile() {
      #expect(changes(event(1, 2, says: .max)).areIncomplete)
      #expect(changes(event(1, 2, says: 1)).areIncomplete)
      #expect(changes(event(1, 2, says: UInt32(Int32.max))).areIncomplete)
      let whole = event(1, 2, name: [65, 0, 0, 0]) + event(2, 2)
      for count in 1..<whole.count where count != 20 {
        #expect(changes(Array(whole.prefix(count))).areIncomplete, "\(count) bytes")
      }
      var random = SeededGenerator(seed: 7)
      for _ in 0..<2_000 {
        let bytes = (0..<random.below(100)).map { _ in
          random.chance(60) ? 0 : UInt8(truncatingIfNeeded: random.next())
        }
        let read = changes(bytes)
        #expect(bytes.count >= 16 || read.directories.isEmpty)
      }
    }
  #endif
}
