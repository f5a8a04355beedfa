from fetcher.http.description import GET, Answer, Group, Operation, Parameter, Route


def test_a_description_says_no_more_than_it_must() -> None:
    one = Operation(summary="Look", answers=(Answer(200, "There."),), example="/")
    assert (one.methods, one.parameters, one.body) == (GET, (), None)
    route = Route(path="/", operations=(one,))
    assert (route.asks_for_key, route.takes_bearer, route.refuses_cross_site) == (True, True, False)
    assert Group("One", "The first.", (route,)).routes == (route,)
    parameter = Parameter("p", "Which.")
    assert (parameter.type, parameter.where, parameter.required) == (str, "query", False)
