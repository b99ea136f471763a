// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Lets threads wait for a condition, and wakes them to check it again.
final class ThreadSignal: Sendable {
  private let condition = NSCondition()

  func signal() {
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }

  func wait(until holds: () -> Bool) {
    condition.lock()
    while !holds() { condition.wait() }
    condition.unlock()
  }
}
