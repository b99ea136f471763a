// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Testing

@testable import DiskQueue

@Suite("A close that failed, and may be asked again")
struct FailedCloseTests {
  @Test("behind it nothing is written or synced that nobody asks for")
  func nothingIsSyncedForNobody() throws {
    let storage = SimulatedStorage()
    let writer = try storage.writer(SmallTopic.options)
    try writer.append("first")
    // The record is written and synced, but the closing mark is not written.
    storage.setFault(SimulatedStorage.Fault(.fail(Errno.io), at: 2) { $0.isWrite })
    #expect(queueError { try writer.close() }?.code == .system(errno: Errno.io))
    storage.logCalls()
    try writer.append("second")
    // When the writer's thread has ended, it has done all its work.
    writer.core.stopThread()
    #expect(storage.calls == [])
    #expect(storage.pass().records.count == 1)
    try writer.close()
    #expect(storage.pass().records.count == 2)
  }
}
