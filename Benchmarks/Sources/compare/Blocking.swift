// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// In an asynchronous function, the plain names are those that wait without blocking the thread. What
/// is measured here is a program's that blocks.
extension QueueWriter {
  func flushBlocking() throws { try flush() }
  func syncBlocking() throws { try sync() }
  func closeBlocking() throws { try close() }
}
