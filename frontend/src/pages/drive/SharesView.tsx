// The links that still open, each with a way to end it at once.

import { Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { driveQueries } from "../../api/driveQueries";
import type { DriveShare } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { useDriveActions } from "./useDriveActions";

export function SharesView() {
  const { text } = useWords();
  const words = text.drive;
  const actions = useDriveActions();
  const { run } = useAction();
  const shares = useQuery(driveQueries.shares());
  return (
    <Loaded query={shares}>
      {(list) => (
        <DataTable<DriveShare>
          rowKey="id"
          dataSource={list}
          pagination={false}
          locale={{ emptyText: <EmptyState title={words.noShares} text={words.noSharesText} /> }}
          columns={[
            { title: words.sharesCol.path, dataIndex: "path", className: "break" },
            {
              title: words.sharesCol.ends,
              key: "ends",
              render: (_, share) => <RelativeTime iso={share.expires_at} />,
            },
            {
              title: words.sharesCol.fetched,
              dataIndex: "num_fetched",
              align: "right",
              className: "num",
            },
            {
              key: "revoke",
              align: "right",
              title: <span className="visually-hidden">{words.revoke}</span>,
              render: (_, share) => (
                <Button
                  size="small"
                  danger
                  onClick={() => void run(() => actions.revoke(share.id))}
                >
                  {words.revoke}
                </Button>
              ),
            },
          ]}
        />
      )}
    </Loaded>
  );
}
