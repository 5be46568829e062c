// The balance and the statement, which adds up before the reader's eyes.

import { CheckCircleFilled, CloseCircleFilled } from "../../widgets/icons";
import { Button, Checkbox, Table } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { Statement } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Figure } from "../../widgets/Figure";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { useIsNarrow } from "../machines/useIsNarrow";
import { useUrlState } from "../useUrlState";
import { useStatementColumns } from "./useStatementColumns";
import { DataTable } from "../../widgets/DataTable";

const PAGE_SIZE = 50;
const READ_AGAIN_MS = 30_000; // while something runs, time alone changes both

export function PointsPage() {
  const { text } = useWords();
  const words = text.pointsPage;
  const [read, write] = useUrlState();
  const user = read("user");
  const page = Number(read("page")) || 1;
  const isEach = read("moves") === "each";
  const statement = useQuery({
    ...queries.statement({ page, page_size: PAGE_SIZE, user, by_run: !isEach }),
    refetchInterval: READ_AGAIN_MS,
    placeholderData: keepPreviousData,
  });
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          user && <Button onClick={() => write({ user: "", page: "" })}>{words.mine}</Button>
        }
      />
      <div className="stack">
        {!user && <Balance />}
        <section className="panel flush">
          <div className="panel-head">
            <h2>{user ? words.statementOf(user) : words.statement}</h2>
            <Checkbox
              checked={isEach}
              onChange={({ target }) => write({ moves: target.checked ? "each" : "", page: "" })}
            >
              {words.each}
            </Checkbox>
          </div>
          <Loaded query={statement}>
            {(data) => (
              <StatementTable
                statement={data}
                page={page}
                onPage={(value) => write({ page: value > 1 ? String(value) : "" })}
              />
            )}
          </Loaded>
        </section>
      </div>
    </div>
  );
}

function Balance() {
  const { text, format } = useWords();
  const words = text.pointsPage;
  const points = useQuery({ ...queries.points(), refetchInterval: READ_AGAIN_MS });
  return (
    <section className="panel">
      <Loaded query={points}>
        {(balance) => (
          <div className="figures">
            <Figure
              isBig
              label={words.available}
              value={format.points(balance.available_mpoints)}
            />
            <Figure
              isBig
              label={words.held}
              value={format.points(balance.held_mpoints)}
              note={
                balance.unwritten_mpoints > 0
                  ? words.unwritten(format.points(balance.unwritten_mpoints))
                  : words.heldHelp
              }
            />
            <Figure isBig label={words.total} value={format.points(balance.total_mpoints)} />
            <Figure
              isBig
              label={words.burn}
              value={format.points(balance.burn_mpoints_per_hour)}
              note={
                balance.runs_out_at
                  ? words.runsOut(format.relative(balance.runs_out_at))
                  : words.burnNone
              }
            />
          </div>
        )}
      </Loaded>
    </section>
  );
}

interface TableProps {
  statement: Statement;
  page: number;
  onPage: (page: number) => void;
}

function StatementTable({ statement, page, onPage }: TableProps) {
  const { text, format } = useWords();
  const words = text.pointsPage;
  const isNarrow = useIsNarrow();
  const columns = useStatementColumns(isNarrow);
  const { totals } = statement;
  const addsUp =
    totals.sum_available_mpoints === totals.available_mpoints &&
    totals.sum_held_mpoints === totals.held_mpoints;
  const all: [name: string, shown: string][] = [
    ["sum-available", format.change(totals.sum_available_mpoints)],
    ["sum-held", format.change(totals.sum_held_mpoints)],
    ["balance-available", format.exact(totals.available_mpoints)],
    ["balance-held", format.exact(totals.held_mpoints)],
  ];
  const sums = isNarrow ? all.slice(0, 1) : all; // that it is the balance is said beside it
  return (
    <DataTable
      rowKey="id"
      size="middle"
      scroll={isNarrow ? {} : { x: "max-content" }}
      columns={columns}
      dataSource={statement.results}
      locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
      pagination={{
        current: page,
        pageSize: statement.page_size,
        total: statement.count,
        hideOnSinglePage: true,
        showSizeChanger: false,
        onChange: onPage,
      }}
      summary={() => (
        <Table.Summary.Row className="sum-row">
          <Table.Summary.Cell index={0} colSpan={isNarrow ? 1 : 3}>
            <b>{words.sum}</b>{" "}
            <span className={addsUp ? "state good small" : "state bad small"}>
              {addsUp ? <CheckCircleFilled /> : <CloseCircleFilled />}
              {addsUp ? words.adds : words.doesNotAdd}
            </span>
          </Table.Summary.Cell>
          {sums.map(([name, shown], index) => (
            <Table.Summary.Cell key={name} index={index + 3} align="right" className="num">
              <b data-testid={name}>{shown}</b>
            </Table.Summary.Cell>
          ))}
          {!isNarrow && <Table.Summary.Cell index={7} />}
        </Table.Summary.Row>
      )}
    />
  );
}
