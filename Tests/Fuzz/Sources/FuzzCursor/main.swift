// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FuzzSupport

@testable import DiskQueue

// Tries a cursor's file in one of a few topics, then does what its holder does.
runFuzzer { bytes, count in
  var input = Input(bytes, count)
  let known = KnownTopic.all[Int(input.u8()) % KnownTopic.all.count]
  let place = input.number(near: 0)
  let holding = Holding(known, CursorImage(from: &input, known))
  holding.describe()
  holding.hold(input.take(40))
  holding.describe()
  holding.reset(to: place % 2 == 0 ? .ordinal(place) : .address(Address(rawValue: place)))
  holding.describe()
  holding.hold(input.takeRest())
  return 0
}
