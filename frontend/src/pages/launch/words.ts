// The launch page's own words, in the page's language; the catalogue, which every page waits for, has none of them.

import type { ErrorBody, Refusal } from "../../api/shapes";
import { useWords } from "../../i18n";
import { training as english, type TrainingWords } from "../../i18n/en/training";
import { sayProblem } from "../../i18n/said";
import { sayNames } from "../../i18n/told";
import { training as chinese } from "../../i18n/zh/training";

export function useTrainingWords(): TrainingWords {
  return useWords().language === "zh" ? chinese : english;
}

type Said = Pick<ErrorBody, "code" | "message" | "params">;

/** How a refusal, and the press that mends it, are said here. */
export function useSaying() {
  const { text, language } = useWords();
  const words = useTrainingWords();
  const say = (body: Said): string => {
    const params = sayNames(language, body.params);
    return (
      words.errors[body.code]?.({ ...params, message: body.message }) ??
      sayProblem(text, { ...body, params })
    );
  };
  const sayMend = ({ code, params }: NonNullable<Refusal["mend"]>): string =>
    (words.mend[code] ?? text.launch.mend[code])?.(params) ?? text.launch.mendOther;
  return { say, sayMend };
}
