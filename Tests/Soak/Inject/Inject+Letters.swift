// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

extension Inject {
  /// Checks the topic and its dead letters after a run of `dead-letters --redrive`: every letter is
  /// appended again, or it is still on the list. Up to 512 of them are both.
  func judgeRedriven(_ scenario: InjectScenario, _ run: InjectRun) throws {
    let (appended, taken) = try checkRedriven(letters: InjectScenario.letterTexts)
    try check(
      appended - taken <= 512, "\(appended) are appended, and only \(taken) are off the list")
    let all = InjectScenario.letters
    try check(
      run.ending != .exit(0) || appended == all && taken == all,
      "it is done: \(appended) are appended, \(taken) are off the list")
    let next = try runAgain(scenario)
    try check(next.ending == .exit(0), "the next run ends with \(next.ending): \(next.errors)")
    try check(
      next.errors.contains("\(all - taken) record"),
      "\(all - taken) were on the list; it says: \(next.errors)")
    let expected = InjectScenario.letterTexts
    let (now, off) = try checkRedriven(
      letters: Array(expected[..<appended] + expected[taken...]))
    try check(
      now == appended + all - taken && off == all,
      "the next run is done: \(now) are appended, \(off) are off the list")
    try recover(read(topic).texts)
  }

  /// Checks that some of the letters, from the first on, follow the records of the topic.
  ///
  /// - Returns: how many do, and how many letters are no longer on the list.
  private func checkRedriven(letters expected: [String]) throws -> (appended: Int, taken: Int) {
    let texts = try read(topic).texts
    let before = InjectScenario.groundRecords
    try check(
      texts.prefix(before) == (0..<before).map(InjectScenario.text)[...],
      "the records before are not there")
    let appended = texts.dropFirst(before)
    try check(
      appended == expected.prefix(appended.count),
      "\(appended.count) records are appended, and they are not the dead letters in order")
    // The letters stay in their topic until a cleaner removes them.
    for name in try Posix.slabNames(ground + "/topic.dead") {
      try checkFile(letters + "/" + name)
    }
    let consumer = try QueueConsumer.consumers(of: Topic(letters)).first {
      $0.name == DeadLetter.redriveConsumerName
    }
    let taken = Int(consumer?.ordinal ?? 0)
    try check(
      taken <= appended.count, "\(taken) are off the list, \(appended.count) are appended")
    return (appended.count, taken)
  }
}
