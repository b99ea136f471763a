// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Synchronization

/// A bar on the terminal for long work. It shows nothing if standard error is no terminal. Threads
/// may share it.
final class ProgressBar: Sendable {
  private static let width = 30
  private static let interval = Duration.milliseconds(100)

  /// Whether there is a terminal to draw on.
  static var isPossible: Bool { System.isTerminal(System.standardError) }

  private let total: UInt64
  private let totalText: String
  private let isShown: Bool
  private let drawing = Mutex((isDrawn: false, last: ContinuousClock.now))

  /// - Parameters:
  ///   - total: how many bytes there are to work through, or 0 for no bar.
  ///   - text: the text for `total`, if it counts something other than bytes.
  init(total: UInt64, called text: String? = nil) {
    self.total = total
    totalText = text ?? HumanSize.text(total)
    isShown = total > 0 && ProgressBar.isPossible
  }

  /// Shows how much is done, at most ten times a second.
  func update(_ done: UInt64) {
    guard isShown else { return }
    let isDue = drawing.withLock { drawing in
      guard drawing.last.duration(to: .now) >= ProgressBar.interval else { return false }
      drawing = (true, .now)
      return true
    }
    guard isDue else { return }
    let part = Double(min(done, total)) / Double(total)
    let filled = Int(part * Double(ProgressBar.width))
    let bar =
      String(repeating: "#", count: filled)
      + String(repeating: " ", count: ProgressBar.width - filled)
    Messages.write(
      "\r[\(bar)] \(Int(part * 100))% of \(totalText)\u{1B}[K")
  }

  /// Erases the bar, before a message or at the end.
  func clear() {
    let wasDrawn = drawing.withLock { drawing in
      defer { drawing.isDrawn = false }
      return drawing.isDrawn
    }
    guard wasDrawn else { return }
    Messages.write("\r\u{1B}[K")
  }

  /// Writes a message in place of the bar. The next update draws the bar again.
  func say(_ sentence: String) {
    clear()
    Messages.say(sentence)
  }
}
