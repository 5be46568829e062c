// The words of the deployments page, in the page's language; the catalogue, which every page waits for, has none of them.

import { useWords } from "../../i18n";
import { serving as english, type ServingWords } from "../../i18n/en/serving";
import { serving as chinese } from "../../i18n/zh/serving";

export function useServingWords(): ServingWords {
  return useWords().language === "zh" ? chinese : english;
}
