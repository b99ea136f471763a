// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

package import DiskQueue

/// The verbs of a test about one topic on a simulated disk. A writer that is opened after another one
/// died recovers what that one left. `flip`, `replace`, `kill` and `powerCut` do the damage.
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

  /// Opens the topic for writing, by a clock and a topic id of the test's.
  package func writer(_ options: QueueWriter.Options = .init()) throws(QueueError) -> QueueWriter {
    try QueueWriter(topic: topic, options: options, environment: .simulated())
  }

  /// Reads all that there is.
  package func pass(options: QueueReader.Options = .init()) -> EnginePass {
    EnginePass(topic, options: options)
  }

  /// How a pass differs from what the second reader makes of the same bytes. Nil if it does not.
  package func difference(from pass: EnginePass) -> String? {
    pass.difference(from: naiveRead(slabs: slabs))
  }
}
