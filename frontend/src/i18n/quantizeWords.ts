// The words of quantizing in the page's language; the catalogue, which every page waits for, has none of them.

import { useWords } from ".";
import { quantize as english, type QuantizeWords } from "./en/quantize";
import { quantize as chinese } from "./zh/quantize";

export function useQuantizeWords(): QuantizeWords {
  return useWords().language === "zh" ? chinese : english;
}
