// What a machine's time costs, and how much of it the balance allows.

import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";

interface Props {
  rate: number;
  hours: number;
  available: number;
}

export function PriceFacts({ rate, hours, available }: Props) {
  const { text, format } = useWords();
  const words = text.machines.form;
  const total = rate * hours;
  return (
    <div style={{ marginBottom: 20 }}>
      <Facts
        facts={[
          [words.price, text.pointsPerHour(format.points(rate))],
          [words.total, format.points(total)],
          [words.balance, format.points(available)],
        ]}
      />
      <p className={total > available ? "field-error" : "muted"} role="status">
        {total > available && `${words.tooLittle} `}
        {rate > 0 && words.allows(format.number(Math.floor((available / rate) * 10) / 10, 1))}{" "}
        {words.refund}
      </p>
    </div>
  );
}
