// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// The verbs of a test about one topic on a simulated disk. If a writer dies, the next writer that
/// is opened recovers the topic. `flip`, `replace`, `kill` and `powerCut` do the damage.
///
/// ```swift
/// let storage = SimulatedStorage()
/// let writer = try storage.writer()
/// try writer.append("one")
/// try writer.flush()
/// writer.dieForTesting()
/// try storage.writer().close()
/// let pass = storage.pass()
/// #expect(storage.difference(from: pass) == nil)
/// ```
extension SimulatedStorage {
  package var topic: Topic { Topic(storage: self) }

  /// Opens the topic for writing, with a simulated clock and topic id.
  package func writer(_ options: QueueWriter.Options = .init()) throws(QueueError) -> QueueWriter {
    try QueueWriter(topic: topic, options: options, environment: .simulated())
  }

  /// Reads the whole topic.
  package func pass(options: QueueReader.Options = .init()) -> EnginePass {
    EnginePass(topic, options: options)
  }

  /// Describes how a pass differs from the second reader's over the same bytes. Nil if they agree.
  package func difference(from pass: EnginePass) -> String? {
    pass.difference(from: naiveRead(slabs: slabs))
  }
}
