// The job page's own words, in the page's language; the catalogue has none of them.

import { useWords } from "../../i18n";
import { metrics as english, type MetricWords } from "../../i18n/en/metrics";
import { metrics as chinese } from "../../i18n/zh/metrics";

export function useMetricWords(): MetricWords {
  return useWords().language === "zh" ? chinese : english;
}
