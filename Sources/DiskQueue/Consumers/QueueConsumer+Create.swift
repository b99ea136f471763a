// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueConsumer {
  /// Creates a consumer at a position, durably, without holding it.
  ///
  /// From then on a cleaner that protects consumers keeps the records from that position on. Blocks
  /// the thread for the syncs of the cursor and of the slabs before the position.
  ///
  /// ```swift
  /// try QueueConsumer.create("uploader", of: "sensors", at: .ago(.hours(2)))
  /// ```
  ///
  /// - Parameters:
  ///   - name: 1 to 64 of `A-Z a-z 0-9 . _ -`, without a dot first.
  ///   - topic: The topic, which must exist.
  ///   - position: The position of the first record that the consumer delivers.
  /// - Throws: One of these codes. Nothing is created then.
  ///   - `alreadyExists` if the topic has a consumer of this name, in any state of its cursor.
  ///   - `locked` while another holder has the name.
  ///   - `notARecord` or `beyondLatest` if the position is not valid.
  ///   - `noSuchTopic`, `notATopic`, `unsupportedFormat`, `invalidOption`, `noSpace`, `syncFailed`
  ///     or `system`.
  public static func create(
    _ name: String, of topic: Topic, at position: Topic.Position
  ) throws(QueueError) {
    let storage = try topic.openForReading()
    var reading = ConsumerReading(storage, Options())
    try reading.look()
    var named = reading.walker.index.bases.last ?? 0
    // Find the position before a file is made.
    let cursor = try reading.begin(from: position, now: Environment.system.now)
    var file = try CursorFile.open(name, in: storage, creating: true)
    do throws(QueueError) {
      try file.load()
      guard case .never = file.content else {
        throw QueueError(
          .alreadyExists,
          "the topic already has a consumer \"\(name)\": reset it to the position, or take another"
            + " name", path: file.path)
      }
      try reading.work(from: 0, to: cursor.address).run(in: storage, namedThrough: &named)
      try file.make(at: cursor, topicID: reading.topicID)
    } catch {
      file.giveUp()
      throw error
    }
    file.release()
  }
}
