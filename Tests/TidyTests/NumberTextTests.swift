// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite("A number in a page")
struct NumberTextTests {
  @Test(
    "has the significant digits that its marker asks for",
    arguments: [
      (45.21, 2, "45"), (893.3, 3, "893"), (1.4, 3, "1.40"), (0.748, 2, "0.75"), (3944, 2, "3,900"),
      (510_700, 3, "511,000"), (2.433, 2, "2.4"), (1.006, 2, "1.0"), (9.96, 2, "10"),
      (0.0695, 2, "0.070"), (-41.6, 2, "-42"), (0, 1, "0"),
    ])
  func digits(_ number: Double, _ digits: Int, _ text: String) {
    #expect(number.text(digits: digits) == text)
  }

  @Test(
    "has as many as in the tables, if its marker asks for none",
    arguments: [
      (14.98, "15.0"), (1.401, "1.40"), (0.3984, "0.40"), (339.8, "340"), (4161, "4,161"),
      (20_560_000, "20,560,000"), (0, "0.00"),
    ])
  func table(_ number: Double, _ text: String) {
    #expect(number.text == text)
  }

  @Test(
    "is rounded away from zero, if it is halfway between two, in decimal digits",
    arguments: [
      (44.5, 2, "45"), (45.5, 2, "46"), (-44.5, 2, "-45"), (328.5, 3, "329"), (23.65, 3, "23.7"),
      (1.005, 3, "1.01"), (0.145, 2, "0.15"), (2500, 1, "3,000"),
    ])
  func halfway(_ number: Double, _ digits: Int, _ text: String) {
    #expect(number.text(digits: digits) == text)
  }
}
