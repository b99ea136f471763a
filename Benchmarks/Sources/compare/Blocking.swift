// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// In an asynchronous function, the plain names mean the calls that do not block the thread. These
/// names call the blocking ones, because the benchmark measures a program that blocks.
extension QueueWriter {
  func flushBlocking() throws { try flush() }
  func syncBlocking() throws { try sync() }
  func closeBlocking() throws { try close() }
}
