// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@testable import DiskQueue

@Suite("A stamp stands for the names of a directory only when their last change is over")
struct NamesStampTests {
  private static let settling = NamesStampSource.settlingNanoseconds

  @Test("a change time becomes a stamp when it was seen some ticks ago, and is still the same")
  func settles() {
    var source = NamesStampSource()
    let first = FileTime(seconds: 1_700_000_000, nanoseconds: 4_000_000)
    #expect(source.stamp(first) { 1000 } == nil)
    #expect(source.stamp(first) { 1000 + Self.settling - 1 } == nil)
    let stamp = source.stamp(first) { 1000 + Self.settling }
    #expect(stamp == NamesStamp(rawValue: 1_700_000_000_004_000_000))
    #expect(source.stamp(first) { 5000 + Self.settling } == stamp)
    // Another time has to settle again. So has an earlier time, because the clock may be set back.
    for second in [
      FileTime(seconds: 1_700_000_000, nanoseconds: 8_000_000),
      FileTime(seconds: 1_600_000_000, nanoseconds: 4_000_000),
      FileTime(seconds: -1, nanoseconds: 1),
    ] {
      let start = 100 * Self.settling
      #expect(source.stamp(second) { start } == nil)
      #expect(source.stamp(second) { start + Self.settling / 2 } == nil)
      let next = source.stamp(second) { start + Self.settling }
      #expect(next != nil && next != stamp)
    }
  }

  @Test("a monotonic clock that goes backwards all the same settles nothing")
  func backwards() {
    var source = NamesStampSource()
    let time = FileTime(seconds: 1, nanoseconds: 1)
    #expect(source.stamp(time) { 10 * Self.settling } == nil)
    #expect(source.stamp(time) { 0 } == nil)
    #expect(source.stamp(time) { 11 * Self.settling } != nil)
  }

  @Test("whole seconds never become a stamp: the file system may count in them")
  func coarse() {
    var source = NamesStampSource()
    let time = FileTime(seconds: 1_700_000_000, nanoseconds: 0)
    for second: UInt64 in 1...5 {
      #expect(source.stamp(time) { second * 1_000_000_000 } == nil)
    }
  }

  /// A change of a name in a directory.
  enum Change: String, CaseIterable {
    case makes, removes, renames, replaces, links

    func strike(_ path: String) throws {
      switch self {
      case .makes: try writeFile(path + "/new", [1])
      case .removes: try removeFile(path + "/one")
      case .renames: try moveFile(path + "/one", to: path + "/two")
      case .replaces: try #require(rename(path + "/other", path + "/one") == 0)
      case .links: try #require(link(path + "/one", path + "/two") == 0)
      }
    }
  }

  @Test("a directory gives another stamp after every change of a name", arguments: Change.allCases)
  func directory(_ change: Change) throws {
    let directory = try TemporaryDirectory()
    for name in ["one", "other"] { try writeFile(directory.path + "/" + name, [0]) }
    let clock = ManualClock(1)
    let storage = try PosixStorage(path: directory.path) { clock.now }
    func stamp() throws -> NamesStamp? {
      clock.advance(by: Self.settling)
      return try storage.namesStamp()
    }
    #expect(try stamp() == nil)
    let before = try #require(try stamp())
    #expect(try stamp() == before)
    try writeFile(directory.path + "/one", [1])
    try waitForFileTime(after: directory.path)
    try change.strike(directory.path)
    #expect(try stamp() == nil)
    let after = try #require(try stamp())
    #expect(after != before)
  }
}

/// Returns when a change would give the directory a new change time. A clock that a test advances
/// is ahead of the file system's clock.
func waitForFileTime(after path: String) throws {
  func changeTime(_ path: String) throws -> UInt64 {
    let directory = Descriptor(try Syscalls.openDirectory(path))
    let time = try Syscalls.changeTime(of: directory.number)
    return UInt64(time.seconds) * 1_000_000_000 + time.nanoseconds
  }
  let elsewhere = try TemporaryDirectory()
  while try changeTime(elsewhere.path) <= changeTime(path) {
    try writeFile(elsewhere.path + "/file", [0])
    try removeFile(elsewhere.path + "/file")
  }
}
