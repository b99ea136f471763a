// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

extension Inject {
  /// Checks a snapshot after a run: there is none, or the whole older one, or the whole new one.
  func judgeSnapshot(_ scenario: InjectScenario, _ run: InjectRun, hasOlder: Bool) throws {
    try checkUnchanged(topic)
    try checkSnapshot(isDone: run.ending == .exit(0), hasOlder: hasOlder)
    try checkNothingLeft(run)
    let next = try runAgain(scenario)
    try check(next.ending == .exit(0), "the next run ends with \(next.ending): \(next.errors)")
    try checkUnchanged(topic)
    try checkSnapshot(isDone: true, hasOlder: false)
  }

  private func checkSnapshot(isDone: Bool, hasOlder: Bool) throws {
    let copy = try Posix.tree(snapshot)
    let isNew = try copy == withoutLocks(Posix.tree(topic))
    let isOlder = try copy == Posix.tree(ground + "/snapshot")
    try check(isNew || isOlder && !isDone, "the snapshot is neither the older nor the new one")
    let texts = try read(snapshot).texts
    let count =
      isNew
      ? InjectScenario.groundRecords : hasOlder ? InjectScenario.recordsOfOlder : 0
    try check(
      texts == (0..<count).map(InjectScenario.text), "the snapshot has \(texts.count) records")
  }

  /// Checks a restored topic after a run: there is none, or the whole one.
  func judgeRestored(_ scenario: InjectScenario, _ run: InjectRun) throws {
    let isThere = try checkRestored(isDone: run.ending == .exit(0))
    try checkNothingLeft(run)
    let next = try runAgain(scenario)
    // Nothing is overwritten, not even by the same.
    try check(
      isThere
        ? next.ending == .exit(2) && next.errors.contains("not overwritten")
        : next.ending == .exit(0),
      "the next run ends with \(next.ending): \(next.errors)")
    _ = try checkRestored(isDone: true)
    try recover(read(topic).texts)
  }

  private func checkRestored(isDone: Bool) throws -> Bool {
    try checkUnchanged(snapshot)
    let copy = try Posix.tree(topic)
    guard let copy else {
      try check(!isDone, "it is done, and there is no topic")
      return false
    }
    try check(try copy == Posix.tree(snapshot), "the topic is not as the snapshot")
    let texts = try read(topic).texts
    try check(
      texts == (0..<InjectScenario.groundRecords).map(InjectScenario.text),
      "the topic has \(texts.count) records")
    return true
  }

  /// The files of a topic that a copy of it has.
  private func withoutLocks(_ tree: [String: [UInt8]]?) -> [String: [UInt8]]? {
    tree?.filter { $0.key != "lock" && !$0.key.hasSuffix(".lock") }
  }

  /// Checks that nothing is left of an unfinished copy, or of the older snapshot.
  private func checkNothingLeft(_ run: InjectRun) throws {
    let left = try (Posix.names(place) ?? []).filter { $0.contains(".partial") }
    // After a kill the user removes it. An error may come again when it is removed.
    guard run.ending != .killed, run.hits.count == 1 else { return }
    for name in left where !run.errors.contains(place + "/" + name) {
      throw Broken("left after \(run.hits): \(left); it says: \(run.errors)")
    }
  }
}
