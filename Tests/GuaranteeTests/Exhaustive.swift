// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Dispatch
import Foundation
import Synchronization

/// Tests that try all cases if `DISKQUEUE_EXHAUSTIVE` is 1, and otherwise a sample of them.
enum Exhaustive {
  static let isOn = ProcessInfo.processInfo.environment["DISKQUEUE_EXHAUSTIVE"] == "1"

  /// The distance from one case to the next.
  static func stride(sampled: Int) -> Int { isOn ? 1 : sampled }

  /// Tries cases 0 ..< `count`, or one of `sampled`, on all cores, and prints how many.
  ///
  /// - Parameters:
  ///   - storage: each chunk of cases gets a copy of its own.
  ///   - body: returns the fault in a case, or nil.
  /// - Returns: the first few faults.
  static func faults(
    _ name: String, count: Int, sampled: Int, on storage: SimulatedStorage,
    _ body: @Sendable (SimulatedStorage, Int) throws -> String?
  ) -> [String] {
    let step = stride(sampled: sampled)
    let cases = (count + step - 1) / step
    let chunk = max(1, min(4096, cases / 16))
    let found = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: (cases + chunk - 1) / chunk) { index in
      guard found.withLock({ $0.count < 5 }) else { return }
      do {
        let copy = storage.copy()
        for number in index * chunk..<min((index + 1) * chunk, cases) {
          guard let fault = try body(copy, number * step) else { continue }
          let isEnough = found.withLock { found in
            found.append("\(name) \(number * step): \(fault)")
            return found.count >= 5
          }
          if isEnough { return }
        }
      } catch {
        found.withLock { $0.append("\(name), from \(index * chunk * step) on: \(error)") }
      }
    }
    print("\(name): \(cases) cases of \(count)")
    return found.withLock { $0 }
  }
}
