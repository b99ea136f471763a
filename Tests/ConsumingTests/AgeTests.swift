// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
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

  @Test("the shortest and the longest time that there are have words, and no crash")
  func extremes() async {
    await #expect(processExitsWith: .success) {
      let (shortest, longest) = (Duration(attoseconds: .min), Duration(attoseconds: .max))
      for time in [shortest, longest] {
        #expect(Age(time).description.contains("seconds"))
        #expect(Threshold.time(time).description.contains("seconds"))
      }
      let age = queueError { try QueueWriter.Options(slabAge: Age(shortest)).validate() }
      #expect(age?.code == .invalidOption)
      let delay = queueError {
        try DiskChannel.Options(acknowledgementDelay: shortest).validate()
      }
      #expect(delay?.code == .invalidOption)
      let interval = await queueError {
        let topic = Topic.memory()
        try await QueueWriter(topic: topic).close()
        let cleaner = try SlabCleaner(topic: topic)
        try await cleaner.run(every: shortest, keeping: Retention(records: 1)) { _ in }
      }
      #expect(interval?.code == .invalidOption)
    }
  }
}
