// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension Topic {
  /// The end of the name of a topic for dead letters.
  package static let deadLetterSuffix = ".dead"

  /// The topic for dead letters of this topic's consumers: beside it, with the suffix `.dead`.
  ///
  /// The dead letters of `sensors` and of `sensors/` are in `sensors.dead`. It may not exist: a
  /// consumer creates it for the first dead letter. A consumer with
  /// ``QueueConsumer/Options-swift.struct/deadLetters`` uses another topic, which
  /// ``QueueConsumer/deadLetters`` returns.
  ///
  /// - Throws: `invalidOption` if this topic is in memory, or if its path does not end in a name:
  ///   it is empty, `/`, or ends in `.` or `..`.
  public var deadLetters: Topic {
    get throws(QueueError) {
      guard let path = trimmedPath else {
        throw .invalidOption(
          "a topic in memory has no directory beside it: set deadLetters to the topic for dead"
            + " letters")
      }
      guard let last = path.split(separator: "/").last, last != ".", last != ".." else {
        throw .invalidOption(
          "the topic's path, \(self), does not end in a name, so a topic beside it cannot be named:"
            + " set deadLetters to the topic for dead letters")
      }
      return Topic(path + Topic.deadLetterSuffix)
    }
  }
}
