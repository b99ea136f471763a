// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Testing

@Suite("Ages")
struct AgeTests {
  @Test("an age beyond what a number holds is as long as can be, and no crash")
  func saturates() async {
    await #expect(processExitsWith: .success) {
      let ages = [Age.seconds(.max), .minutes(.max), .hours(.max), .days(.max)]
      #expect(ages.allSatisfy { $0 == .seconds(.max) })
      #expect(Age.days(.min) == .seconds(.min))
      #expect(Age.days(-2) == .hours(-48))
    }
  }
}
